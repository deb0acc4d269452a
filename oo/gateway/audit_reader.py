"""Reading the audit, as `oo audit` prints it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_POLL = 0.1  # seconds between two checks for a further line


def read(path: Path, follow: bool = False) -> Iterator[str]:
    """Yield the lines of an audit, without those that a full disk cut short. With `follow`, wait for more until
    interrupted, also where the file is renamed or truncated meanwhile."""
    while True:
        while follow and not path.exists():  # no gateway has run yet, or the file was renamed
            time.sleep(_POLL)
        try:
            file = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115  # closed below
        except FileNotFoundError:
            if follow:
                continue
            return
        with file:
            yield from _lines(file, path, follow)
        if not follow:
            return


def _lines(file: TextIO, path: Path, follow: bool) -> Iterator[str]:
    """The lines of an open file: those that are there, or until its name leads to another."""
    part, replaced = "", False
    while True:
        part += file.readline()
        if part.endswith("\n"):
            if _is_whole(part):
                yield part.rstrip("\n")
            part = ""
        elif not follow or replaced:
            return
        elif _was_truncated(file):
            file.seek(0)
            part = ""
        else:
            # What was written before the rename is read once more before the file is left.
            replaced = _was_replaced(file, path)
            if not replaced:
                time.sleep(_POLL)


def _was_truncated(file: TextIO) -> bool:
    return os.fstat(file.fileno()).st_size < os.lseek(file.fileno(), 0, os.SEEK_CUR)


def _was_replaced(file: TextIO, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False  # a new one will come; until then the old one may still be written to


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
