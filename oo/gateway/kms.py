"""Master keys that a KMS keeps: it is asked to wrap and unwrap data keys, and its keys are never seen here.

`OO_KMS` names one by a URL, whose scheme is `openbao` or the name of a plugin, which is loaded for it alone. Several,
with commas between them, are for moving: all unwrap, and the last one wraps. `master-key` among them stands for the
master key of OO_MASTER_KEY or its file.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import _plugins
from ..hooks import Kms
from . import openbao
from .errors import IntegrityError, StoreError, StoreUnavailable
from .sealing import Keyring, MasterKeys, associated_data

OWN = "master-key"
"""What stands for the own master key among those of OO_KMS."""


class KmsKey:
    """The key of a KMS, as a ring of one."""

    own: Sequence[bytes] = ()

    def __init__(self, scheme: str, kms: Kms) -> None:
        self.current = f"{scheme}:{kms.id}"
        self._kms = kms

    def __contains__(self, key: str) -> bool:
        return key == self.current

    def seal(self, key: str, kind: str, name: str, version: int, value: bytes) -> bytes:
        """Have a value wrapped. StoreUnavailable where the KMS does not answer, StoreError where it refuses."""
        try:
            return self._kms.wrap(value, associated_data(kind, name, version, key))
        except StoreError:
            raise
        except Exception as error:  # foreign code, whose words may quote what it was given
            failure = type(error).__name__
        raise StoreUnavailable(f"the KMS {self.current} failed: {failure}")

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """Have a value unwrapped. IntegrityError where the KMS says that it isn't what was wrapped; else as above."""
        try:
            return self._kms.unwrap(sealed, associated_data(kind, name, version, key))
        except StoreError:
            raise
        except ValueError:
            failure = ""
        except Exception as error:  # as above
            failure = type(error).__name__
        if failure:
            raise StoreUnavailable(f"the KMS {self.current} failed: {failure}")
        raise IntegrityError(f"the {kind} {name!r} in the vault is not what {self.current} has wrapped")


class MasterRing:
    """Several rings as one; the last one's current key is the current one."""

    def __init__(self, rings: Sequence[MasterKeys]) -> None:
        self._rings = rings
        self.current = rings[-1].current
        self.own = [key for ring in rings for key in ring.own]

    def __contains__(self, key: str) -> bool:
        return any(key in ring for ring in self._rings)

    def seal(self, key: str, kind: str, name: str, version: int, value: bytes) -> bytes:
        """See MasterKeys; KeyError for a key of none."""
        return self._of(key).seal(key, kind, name, version, value)

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """See MasterKeys; KeyError for a key of none."""
        return self._of(key).open(key, kind, name, version, sealed)

    def _of(self, key: str) -> MasterKeys:
        for ring in self._rings:
            if key in ring:
                return ring
        raise KeyError(key)


def joined(setting: str, keys: Sequence[bytes]) -> MasterKeys:
    """The KMSs that `OO_KMS` names and the own master keys as one ring. StoreError where one cannot be had."""
    names = _names(setting)
    if OWN not in names:
        names.insert(0, OWN)  # what it has wrapped opens still
    rings = [Keyring(keys) if name == OWN else connect(name) for name in names if name != OWN or keys]
    if not rings:
        raise StoreError(f"OO_KMS is {OWN!r}, and there is no master key")
    return MasterRing(rings)


def is_own(setting: str) -> bool:
    """Whether it is the own master key that wraps, though `OO_KMS` is set."""
    return (_names(setting) or [OWN])[-1] == OWN


def connect(url: str) -> KmsKey:
    """The KMS of a URL; StoreError for one that is none, or whose plugin is not there or breaks."""
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise StoreError("OO_KMS holds what is no URL, such as openbao://bao.example:8200/transit/keys/oo")
    if scheme in openbao.SCHEMES:
        return KmsKey("openbao", openbao.OpenBao(url))
    try:
        return KmsKey(scheme, _plugins.plugins.kms(scheme, url))
    except ValueError as error:
        raise StoreError(f"OO_KMS: {error}") from None


def _names(setting: str) -> list[str]:
    return [name.strip() for name in setting.split(",") if name.strip()]
