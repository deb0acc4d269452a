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


def data_dir() -> Path:
    """`$OO_HOME`, its `~` expanded, or the platform's data directory if it is not set."""
    if named := os.environ.get("OO_HOME"):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("double-o", appauthor=False)


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
        if path.exists():
            os.chown(path, *owner, follow_symlinks=False)


def begin_file(home: Path, name: str) -> None:
    """Have a file that root is about to begin in somebody's data directory be theirs, where that can be done."""
    if is_root():
        with suppress(OSError):
            (home / name).touch(0o600)
            hand_over(home, home / name)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
