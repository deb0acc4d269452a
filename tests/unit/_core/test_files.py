"""Files that root replaces stay their owner's, and marks of byte order are no text."""

from __future__ import annotations

import codecs
import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from oo._core import files
from oo._core.files import decode_text, identity, lock_dir, owner_of, replace_file

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
NOBODY = (65534, 65533)


@as_root
def test_a_file_that_root_replaces_stays_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, *NOBODY)
    replace_file(str(path), b"new")
    assert (path.read_text(), owner_of(path), path.stat().st_mode & 0o777) == ("new", NOBODY, 0o600)
    # Whoever asks for another owner asks for that of a new file.
    replace_file(str(path), b"newer", owner=(1, 1))
    assert owner_of(path) == NOBODY


@as_root
def test_a_new_file_of_root_gets_the_owner_it_is_given(tmp_path: Path) -> None:
    for owner, expected in ((None, (0, os.getegid())), (NOBODY, NOBODY)):
        replace_file(str(tmp_path / f"{owner}"), b"new", owner=owner)
        assert owner_of(tmp_path / f"{owner}") == expected


@as_root
def test_an_owner_that_cannot_be_kept_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int, _user: int, _group: int) -> None:
        raise PermissionError(1, "Operation not permitted")  # root without CAP_CHOWN

    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, *NOBODY)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(PermissionError):
        replace_file(str(path), b"new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["file"])


def test_nothing_that_is_not_there_has_an_owner(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "none") is None


def test_a_lock_is_waited_for_as_long_as_is_said(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    began = time.monotonic()
    with pytest.raises(OSError, match="keeps its folder locked"), lock_dir(tmp_path, timeout=0.2):
        pass
    assert time.monotonic() - began >= 0.2
    os.close(handle)
    with lock_dir(tmp_path, timeout=0):
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"k\xc3\xa4se",
        codecs.BOM_UTF8 + b"k\xc3\xa4se",
        codecs.BOM_UTF16_LE + "käse".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "käse".encode("utf-16-be"),
    ],
)
def test_a_mark_of_byte_order_is_no_part_of_a_text(data: bytes) -> None:
    assert decode_text(data) == "käse"


@pytest.mark.parametrize("data", [b"\xff", b"k\xe4se", codecs.BOM_UTF16_LE + b"a"])
def test_what_is_no_text_is_an_error(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_text(data)


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


def test_a_file_is_itself_until_another_stands_in_its_place(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    assert identity(path) is None
    path.write_text("one")
    link.symlink_to(path)
    first = identity(path)
    with path.open() as file:
        assert first == identity(file.fileno()) == identity(link) != identity(link, follow_symlinks=False)
        path.write_text("changed")
        assert identity(path) == first
        (tmp_path / "new").write_text("two")
        os.replace(tmp_path / "new", path)
        assert None is not identity(path) != first == identity(file.fileno())
