"""Where a gateway keeps its files, and who may write there."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from contextlib import suppress
from pathlib import Path

from .._core.files import is_root, owner_of
from .errors import StoreError

VAULT_FILE = "vault.db"


def data_dir() -> Path:
    """`$OO_HOME`, its `~` expanded, or if it is not set the platform's data directory. StoreError if there is none."""
    if named := os.environ.get("OO_HOME"):
        return expanded(named)
    from platformdirs import user_data_path

    with suppress(RuntimeError):
        found = user_data_path("double-o", appauthor=False)
        if found.is_absolute():  # earlier platformdirs leave a `~` as it is
            return found
    raise StoreError("this user has no home directory: set OO_HOME to the path of the data directory")


def expanded(named: str) -> Path:
    """A path, its `~` expanded; StoreError where nobody knows whose home that is."""
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise StoreError(f"{named} is in a home directory that is not known: name the whole path") from None


def make_home(home: Path) -> None:
    """Have the data directory be there, of mode 0700 where it is made; StoreError where it cannot be."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"the data directory {home} cannot be made: {error.strerror}; OO_HOME names another") from None


def may_be_made(path: Path) -> bool:
    """Whether this process may write a file, or make it and its directories. Nothing is made."""
    if os.path.exists(path):
        return os.access(path, os.W_OK)
    above = next(each for each in path.absolute().parents if os.path.exists(each))
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)


def check_home(home: Path) -> None:
    """StoreError where others may write into the data directory, as ssh has it (sshd(8), FILES). Root may use
    anybody's; one that is not there is nobody's."""
    if sys.platform == "win32":
        return
    try:
        status = home.stat()
    except FileNotFoundError:
        return
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(f"others can write into {home} and so change what is kept there: `chmod go-w {_quoted(home)}`")
    if status.st_uid not in (0, os.geteuid()) and not is_root():
        raise StoreError(f"{home} belongs to another user, who can change what is kept there")


def check_private(path: Path) -> None:
    """StoreError where others than its owner may read a file."""
    if why := exposed(path):
        raise StoreError(f"{why}: `chmod 600 {_quoted(path)}`")


def exposed(path: Path) -> str:
    """What is wrong with a file that others can read; "" where they cannot, or there is none.

    As ssh has it, a file that is another's may be read by its group: that is how one user lets a service read it.
    """
    if sys.platform == "win32":
        return ""
    try:
        status = path.stat()
    except OSError:
        return ""
    theirs = 0o077 if status.st_uid == os.geteuid() or is_root() else 0o007
    return f"others can read {path}" if status.st_mode & theirs else ""


def hand_over(home: Path, *files: Path) -> None:
    """Give files that root has made in somebody's data directory to whom that belongs."""
    if sys.platform == "win32" or not is_root() or (owner := owner_of(home)) is None:
        return
    for path in files:
        if os.path.exists(path):
            os.chown(path, *owner, follow_symlinks=False)


def begin_file(home: Path, name: str) -> None:
    """Have a file that root is about to begin in somebody's data directory be theirs, where that can be done."""
    if is_root():
        with suppress(OSError):
            (home / name).touch(0o600)
            hand_over(home, home / name)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
