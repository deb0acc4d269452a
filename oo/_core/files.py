"""Files that are written whole or not at all, folders that are locked meanwhile, and text that a file holds."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator

from .warnings import outside

_LOCK_TIMEOUT = 5.0  # seconds
_OCTAL = re.compile(r"\\([0-7]{3})")


@contextlib.contextmanager
def lock_dir(folder: str | os.PathLike[str], timeout: float | None = None) -> Iterator[None]:
    """Hold a folder's lock. OSError where another program holds it for longer than `timeout` (5 s unless told).

    The folder is locked, not the file, because the file is replaced. The lock ends with its process. Windows and
    some network file systems have no such lock: there nothing is locked.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        # A time limit, because `flock FOLDER oo export FOLDER/.env` would wait for its own parent for ever.
        end = time.monotonic() + (_LOCK_TIMEOUT if timeout is None else timeout)
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


def replace_file(
    path: str, content: bytes, *, mounts: bool = False, owner: tuple[int, int] | None = None, mode: int = 0o600
) -> None:
    """Write a file of a mode in one step: at any moment, a crash included, it is the old one or the new one.

    A file that root replaces stays its owner's; a new one gets root's own `owner` (user and group id) where that is
    given. A file that is a mount of its own cannot be replaced: with `mounts` it is written in place, after a warning,
    else that is an OSError.
    """
    try:
        _replace(path, content, owner, mode)
    except OSError as error:
        if not mounts or not (error.errno == errno.EBUSY or _is_mount(path)):
            raise
    else:
        return
    warnings.warn(
        f"{path} is a mount of its own and cannot be replaced: it is written in place, which a crash could cut short",
        stacklevel=outside(),
    )
    _write_in_place(path, content, mode)


def owner_of(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """The user and the group that a file or folder belongs to; None where there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_uid, status.st_gid


def identity(path: str | os.PathLike[str] | int, *, follow_symlinks: bool = True) -> tuple[int, int] | None:
    """What tells a file from another that comes to stand at the same path; None where none can be seen."""
    try:
        status = os.stat(path, follow_symlinks=follow_symlinks)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_root() -> bool:
    """Whether this process runs as root."""
    return sys.platform != "win32" and os.geteuid() == 0


def decode_text(data: bytes) -> str:
    """The text of a file, without the mark of byte order that some editors begin one with: UTF-8, or UTF-16 where the
    mark says so. UnicodeDecodeError for anything else."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _replace(path: str, content: bytes, owner: tuple[int, int] | None, mode: int) -> None:
    from tempfile import mkstemp  # which brings shutil, and that its compressors

    folder = os.path.dirname(path) or "."
    handle, temporary = mkstemp(prefix=".oo-", dir=folder)  # beside its target: the rename is atomic
    try:
        with os.fdopen(handle, "wb") as file:
            # By its descriptor: in a folder of somebody else's, the name may be another file's by now.
            if sys.platform != "win32" and is_root() and (keeps := owner_of(path) or owner) is not None:
                os.fchown(file.fileno(), *keeps)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # 0600 it has already, less the umask
        with synced(folder):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write_in_place(path: str, content: bytes, mode: int) -> None:
    with open(path, "r+b") as file:
        if os.name == "posix":
            os.fchmod(file.fileno(), mode)  # before the secret content is written
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _is_mount(path: str) -> bool:
    """Whether a file is a mount of its own, as far as Linux tells (proc(5), mountinfo)."""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if _OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4]) == path:
                return True
    return False


@contextlib.contextmanager
def synced(folder: str) -> Iterator[None]:
    """Sync the folder after the block: until then, a crash could lose a file of a new name in it."""
    if os.name != "posix":  # Windows has no such call
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # before the rename: where this fails, nothing has happened
    try:
        yield
        os.fsync(handle)
    finally:
        os.close(handle)
