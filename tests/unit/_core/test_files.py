"""Files: one is replaced whole or not at all, and a locked folder is one caller's."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from oo._core import files
from oo._core.files import lock_dir, replace_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX: modes and flock")


@pytest.mark.parametrize("before", [None, b"", b"older and longer"])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_a_file_holds_its_content_and_is_its_owners_alone(tmp_path: Path, before: bytes | None, umask: int) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o644)
    old = os.umask(umask)
    try:
        replace_file(str(path), b"new\0\n")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"new\0\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_alone_is_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file("file", b"a")
    assert (tmp_path / "file").read_bytes() == b"a"


def test_whoever_reads_meanwhile_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        replace_file(str(path), b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_what_cannot_be_replaced_is_left_and_so_is_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(str(target), b"content")
    assert os.listdir(tmp_path) == ["target"]
    with pytest.raises(FileNotFoundError):
        replace_file(str(tmp_path / "none" / "file"), b"content")


def is_locked(folder: Path) -> bool:
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_folder_is_locked_until_the_block_ends_however_it_ends(tmp_path: Path) -> None:
    with lock_dir(str(tmp_path)):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    with pytest.raises(KeyError), lock_dir(str(tmp_path)):
        raise KeyError
    assert not is_locked(tmp_path)


def test_a_folder_that_stays_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LOCK_TIMEOUT", 0.05)
    with lock_dir(str(tmp_path)), pytest.raises(OSError, match="keeps its folder locked"), lock_dir(str(tmp_path)):
        raise AssertionError("two were inside")
    with lock_dir(str(tmp_path)):
        assert is_locked(tmp_path)
