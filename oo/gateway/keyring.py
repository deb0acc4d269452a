"""The master key: where it is read from, and how its file is written.

A keyring holds one key, or two while `oo rekey` moves from the first to the last. Each sealed record carries the id of
its key, so a reader that meets an unknown id loads the ring again.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .._core.files import replace_file
from .errors import StoreError
from .sealing import Keyring

KEY_FILE = "master.key"


def load(home: Path, environ: Mapping[str, str] = os.environ) -> Keyring:
    """Load the ring from `OO_MASTER_KEY`, else from the file that `OO_MASTER_KEY_FILE` names, else from `master.key` in
    `home`. StoreError if there is none."""
    return Keyring(read_keys(home, environ))


def read_keys(home: Path, environ: Mapping[str, str] = os.environ) -> list[bytes]:
    """The keys of the ring, the current one last."""
    if text := environ.get("OO_MASTER_KEY"):
        return _parse(text.replace(",", "\n"), "OO_MASTER_KEY")
    path = key_path(home, environ)
    if keys := _read(path):
        return keys
    raise StoreError(f"there is no master key at {path}: run `oo init`, or set OO_MASTER_KEY or OO_MASTER_KEY_FILE")


def write_keys(path: Path, keys: list[bytes]) -> None:
    """Write a ring to a file of mode 0600, atomically.

    The file's ring may only be extended at its end or cut at its beginning. StoreError for any other ring in it: its
    keys would be lost, and with them what another run has sealed.
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, mode=0o700)
    path = Path(os.path.realpath(path))
    with _alone(path.parent):
        there = _read(path)
        if there != keys[: len(there)] and keys != there[-len(keys) :]:
            raise StoreError(f"{path} holds another master key by now: it was left as it is")
        replace_file(str(path), b"".join(base64.b64encode(key) + b"\n" for key in keys))


def key_path(home: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file of the ring, which need not exist."""
    named = environ.get("OO_MASTER_KEY_FILE")
    return Path(named) if named else home / KEY_FILE


def _read(path: Path) -> list[bytes]:
    try:
        return _parse(path.read_text("ascii"), str(path))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the master key {path} cannot be read: {type(error).__name__}") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    # Lock the folder, since the file is replaced. The lock ends with its process. Windows has no such lock.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _parse(text: str, where: str) -> list[bytes]:
    try:
        keys = [base64.b64decode(line, validate=True) for line in text.split()]
    except (binascii.Error, ValueError):
        keys = []
    if not keys or any(len(key) != 32 for key in keys):
        raise StoreError(f"{where} holds no master key: 32 bytes in base64, such as `openssl rand -base64 32` prints")
    return keys
