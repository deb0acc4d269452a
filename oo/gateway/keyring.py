"""The master key: where it comes from, and how it seals.

A keyring holds one key, or two while `oo rekey` moves from the first to the last. What is sealed carries the id of
its key, so a reader that meets an id it does not know reads the ring anew.
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
    """The ring of `OO_MASTER_KEY`, else of the file that `OO_MASTER_KEY_FILE` names, else of the one in `home`.
    StoreError where there is none."""
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
    """Write a ring to a file of mode 0600, in one step. StoreError where the file holds another ring than this one
    with a key more or less: its keys would be lost, and with them what another run has sealed."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, mode=0o700)
    path = Path(os.path.realpath(path))
    with _alone(path.parent):
        there = _read(path)
        if there != keys[: len(there)] and keys != there[-len(keys) :]:
            raise StoreError(f"{path} holds another master key by now: it was left as it is")
        replace_file(str(path), b"".join(base64.b64encode(key) + b"\n" for key in keys))


def key_path(home: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that the ring is kept in."""
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
    # The folder's lock, since the file is replaced. It ends with its process. Windows has none.
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
