"""Files that are written whole or not at all, and folders that are locked meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator

_LOCK_TIMEOUT = 5.0  # seconds


@contextlib.contextmanager
def lock_dir(folder: str) -> Iterator[None]:
    # What another caller appends between reading and replacing would be lost. The folder's lock, since the file is
    # replaced; it ends with its process. Windows has none, nor have some network file systems. Not without end:
    # `flock FOLDER oo export FOLDER/.env` would wait for its own parent.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise OSError("another program keeps its folder locked") from None
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(handle)


def replace_file(path: str, content: bytes) -> None:
    """Write a file of mode 0600 in one step: at any moment, a crash included, it is the old one or the new one."""
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix=".oo-", dir=folder)  # beside its target: the rename is atomic
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o600)  # which it has already, less the umask
        with _synced(folder):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _synced(folder: str) -> Iterator[None]:
    """Until its folder is on the disk, so may a rename not be."""
    if os.name != "posix":  # Windows has no such call
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # before the rename: where this fails, nothing has happened
    try:
        yield
        os.fsync(handle)
    finally:
        os.close(handle)
