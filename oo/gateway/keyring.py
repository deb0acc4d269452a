"""The master key: where it comes from, and the file it is kept in.

A keyring holds one key, or two while `oo rekey` moves from the first to the last. Each data key carries the id of the
master key that wraps it, so a reader that meets an unknown id loads the ring again.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._core.files import decode_text, lock_dir, owner_of, replace_file
from .._core.warnings import outside
from .errors import StoreError
from .paths import VAULT_FILE, check_home, check_private, expanded, exposed
from .sealing import Keyring, MasterKeys

KEY_FILE = "master.key"
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_ELSEWHERE = "put back the one that it was made with, or set OO_MASTER_KEY or OO_MASTER_KEY_FILE"
_LOCK_TIMEOUT = 30.0  # seconds


def load(home: Path, environ: Mapping[str, str] = os.environ, *, is_made: bool = False) -> MasterKeys:
    """Load the ring from `OO_MASTER_KEY`, else from the file that `OO_MASTER_KEY_FILE` names, else from `master.key` in
    `home`; with `OO_KMS`, that KMS joins it. StoreError if there is none, or if others could read the one in `home` or
    write there. `is_made`: what a new key would not open is there, though no vault is."""
    return ring_of(read_keys(home, environ, is_made=is_made), environ)


def ring_of(keys: Sequence[bytes], environ: Mapping[str, str] = os.environ) -> MasterKeys:
    """These keys, and the KMSs that `OO_KMS` names, as one ring."""
    if setting := environ.get("OO_KMS"):
        from .kms import joined

        return joined(setting, keys)
    return Keyring(keys)


def has_keys(home: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a master key, or one is named."""
    return bool(environ.get("OO_MASTER_KEY")) or is_named(environ) or key_path(home, environ).exists()


def is_own(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether data keys are wrapped with a master key that is kept here, and not by a KMS."""
    if not (setting := environ.get("OO_KMS")):
        return True
    from . import kms

    return kms.is_own(setting)


def read_keys(home: Path, environ: Mapping[str, str] = os.environ, *, is_made: bool = False) -> list[bytes]:
    """The keys of the ring, the current one last; none where a KMS has them alone."""
    check_home(home)
    if environ.get("OO_KMS") and not has_keys(home, environ):
        return []
    if text := environ.get("OO_MASTER_KEY"):
        return _parse(text.replace(",", "\n"), "OO_MASTER_KEY")
    path = key_path(home, environ)
    if keys := _read(path):
        if path.resolve() == (home / KEY_FILE).resolve():
            check_private(path)
        elif why := exposed(path):
            # A secret that was mounted is often 0444, and nobody else is in there with it.
            warnings.warn(f"{why}, which is the master key", stacklevel=outside())
        return keys
    is_lost = is_made or (home / VAULT_FILE).exists()  # a new key would open nothing
    if is_named(environ):
        mend = _ELSEWHERE if is_lost else "`(umask 077 && openssl rand -base64 32 > FILE)` makes a new key"
        raise StoreError(f"OO_MASTER_KEY_FILE names {path}, and there is no file: {mend}")
    if is_lost:
        raise StoreError(f"the master key of the vault in {home} is not at {path}: {_ELSEWHERE}")
    raise StoreError(f"there is no master key at {path}: run `oo init`, or set OO_MASTER_KEY or OO_MASTER_KEY_FILE")


def write_keys(path: Path, keys: list[bytes]) -> None:
    """Write a ring to a file atomically: of mode 0600, or read by whom it was read before.

    The file's ring may only be extended at its end or cut at its beginning. StoreError for any other ring in it: its
    keys would be lost, and with them what another run has sealed.
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, mode=0o700)
    path = Path(os.path.realpath(path))
    try:
        with lock_dir(path.parent, _LOCK_TIMEOUT):
            there = _read(path)
            if there != keys[: len(there)] and keys != there[-len(keys) :]:
                raise StoreError(f"{path} holds another master key by now: it was left as it is")
            content = b"".join(base64.b64encode(key) + b"\n" for key in keys)
            readers = path.stat().st_mode & 0o044 if there else 0
            replace_file(str(path), content, owner=owner_of(path.parent), mode=0o600 | readers)
    except OSError as error:
        raise StoreError(f"the master key {path} cannot be written: {error.strerror or error}") from None


def key_path(home: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that the ring is kept in."""
    return expanded(environ["OO_MASTER_KEY_FILE"]) if is_named(environ) else home / KEY_FILE


def is_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `OO_MASTER_KEY_FILE` says where the key is."""
    return bool(environ.get("OO_MASTER_KEY_FILE"))


def _read(path: Path) -> list[bytes]:
    try:
        return _parse(decode_text(path.read_bytes()), str(path))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the master key {path} cannot be read: {type(error).__name__}") from None


def _parse(text: str, where: str) -> list[bytes]:
    try:
        keys = [_key(line) for line in text.lstrip("\ufeff").split()]
    except (binascii.Error, ValueError):
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise StoreError(
            f"{where} holds no master key: 32 bytes in base64 or hex, such as `openssl rand -base64 32` prints"
        )
    return keys


def _key(text: str) -> bytes:
    """A key in hex, or in base64 of either alphabet (RFC 4648, 4 and 5), padded or not."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
