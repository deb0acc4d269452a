"""Master keys that a KMS keeps: it is asked to wrap and unwrap data keys, and its keys are never seen here.

`OO_KMS` names one by a URL, whose scheme is `openbao` or the name of a plugin, which is loaded for it alone. Several,
with commas between them, are for moving: all unwrap, and the last one wraps. `master-key` among them stands for the
master key of OO_MASTER_KEY or its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

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
        """Have a value wrapped. StoreUnavailable where the KMS does not answer, StoreError where it refuses,
        or does not unwrap what it has wrapped."""
        context = associated_data(kind, name, version, key)
        wrapped = self._asked(self._kms.wrap, value, context)
        # It is all that is kept of the value.
        if wrapped is None or self._asked(self._kms.unwrap, wrapped, context) != value:
            raise StoreError(f"the KMS {self.current} does not wrap a key so that it unwraps it; nothing was changed")
        return wrapped

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """Have a value unwrapped. IntegrityError where the KMS says that it isn't what was wrapped; else as above."""
        value = self._asked(self._kms.unwrap, sealed, associated_data(kind, name, version, key))
        if value is None:
            raise IntegrityError(f"the {kind} {name!r} in the vault is not what {self.current} has wrapped")
        return value

    def _asked(self, ask: Callable[[bytes, bytes], object], value: bytes, context: bytes) -> bytes | None:
        """What the KMS answers; None where it says that it cannot do that with the value."""
        try:
            answer = ask(value, context)
        except StoreError:
            raise
        except ValueError:
            return None
        except Exception as error:  # foreign code, whose words may quote what it was given
            failure = type(error).__name__
        else:
            if isinstance(answer, bytes):
                return answer
            failure = f"it answered with {type(answer).__name__}, not bytes"
        raise StoreUnavailable(f"the KMS {self.current} failed: {failure}")


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
        return self._of(key)[0].seal(key, kind, name, version, value)

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """See MasterKeys; KeyError for a key of none."""
        *newer, oldest = self._of(key)
        for ring in newer:
            with suppress(IntegrityError):
                return ring.open(key, kind, name, version, sealed)
        return oldest.open(key, kind, name, version, sealed)

    def _of(self, key: str) -> list[MasterKeys]:
        """The rings that have a key of that id, the last one first: a service may move to a new one that names its keys
        alike."""
        if found := [ring for ring in reversed(self._rings) if key in ring]:
            return found
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
        kms = _plugins.plugins.kms(scheme, url)
    except ValueError as error:
        schemes = " or ".join(f"{each}://" for each in openbao.SCHEMES)
        raise StoreError(f"OO_KMS: {error}; without a plugin it begins with {schemes}") from None
    if not isinstance(getattr(kms, "id", None), str):
        raise StoreError(f"OO_KMS: the KMS of plugin {scheme} has no `id` that is text")
    return KmsKey(scheme, kms)


def _names(setting: str) -> list[str]:
    return [name.strip() for name in setting.split(",") if name.strip()]
