from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
import pytest

from oo.gateway import paths
from oo.gateway.errors import StoreError
from oo.gateway.paths import (
    begin_file,
    check_home,
    check_private,
    data_dir,
    expanded,
    exposed,
    hand_over,
    make_home,
    may_be_made,
)


def test_the_data_directory_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OO_HOME", str(tmp_path))
    assert data_dir() == tmp_path


@pytest.mark.parametrize("named", [None, ""])
def test_else_it_is_the_platforms(monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.delenv("OO_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("OO_HOME", named)
    assert data_dir() == platformdirs.user_data_path("double-o", appauthor=False)


def test_a_tilde_is_ones_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OO_HOME", "~/vault")
    assert data_dir() == tmp_path / "vault"


@pytest.mark.parametrize("found", ["~/.local/share/double-o", RuntimeError("no home")], ids=["earlier", "later"])
def test_who_has_no_home_is_told_what_to_set(found: str | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """platformdirs leaves a `~` as it is, or from 4.11 on raises."""

    def user_data_path(*_: object, **__: object) -> Path:
        if isinstance(found, Exception):
            raise found
        return Path(found)

    monkeypatch.delenv("OO_HOME", raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", user_data_path)
    with pytest.raises(StoreError, match="this user has no home directory: set OO_HOME"):
        data_dir()


def test_a_tilde_of_nobody_is_said() -> None:
    with pytest.raises(StoreError, match=r"^~no-such-user/vault is in a home directory that is not known"):
        expanded("~no-such-user/vault")


def test_a_home_is_made_for_its_owner_alone_and_one_that_is_there_is_left(tmp_path: Path) -> None:
    home = tmp_path / "share" / "double-o"
    make_home(home)
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o750)
    make_home(home)
    assert home.stat().st_mode & 0o777 == 0o750


def test_a_home_beneath_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/home cannot be made: Not a directory; OO_HOME names another"):
        make_home(tmp_path / "file" / "home")


def test_what_may_be_made_is_known_without_making_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert may_be_made(tmp_path / "file")
    assert may_be_made(tmp_path / "new")
    assert may_be_made(tmp_path / "new" / "home" / "new")
    assert not may_be_made(tmp_path / "file" / "new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o500])
def test_a_home_that_its_owner_alone_writes_is_taken(mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    check_home(tmp_path)
    check_home(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o777, 0o1777, 0o2775])
def test_a_home_that_others_can_write_is_refused_with_what_to_type(mode: int, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(StoreError, match="chmod go-w '"):
        check_home(home)


@contextmanager
def as_user(user: int) -> Iterator[None]:
    before = os.geteuid()
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(before)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another")


@as_root
@pytest.mark.parametrize(("mode", "may"), [(0o755, False), (0o777, True), (0o766, False)])
def test_the_mode_of_what_is_there_says_what_may_be_made(mode: int, may: bool) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        os.setreuid(65534, -1)  # as access(2) asks
        try:
            assert may_be_made(Path(folder, "home", "new")) is may
        finally:
            os.setreuid(0, -1)


@as_root
def test_a_home_of_another_is_for_root_alone() -> None:
    with TemporaryDirectory() as folder:  # in which anybody may look
        home = Path(folder)
        os.chown(home, 65533, 65533)
        check_home(home)
        with as_user(65534), pytest.raises(StoreError, match="belongs to another user"):
            check_home(home)
        os.chown(home, 65534, 65533)
        with as_user(65534):
            check_home(home)


@pytest.mark.parametrize(
    ("mode", "private"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o444, False), (0o620, False)]
)
def test_a_file_that_others_can_read_is_refused_with_what_to_type(mode: int, private: bool, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch()
    path.chmod(mode)
    if private:
        check_private(path)
    else:
        with pytest.raises(StoreError, match="chmod 600 /"):
            check_private(path)
    check_private(tmp_path / "none")


@as_root
@pytest.mark.parametrize(("mode", "private"), [(0o640, True), (0o444, False), (0o644, False)])
def test_a_group_may_read_what_is_anothers(mode: int, private: bool) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "key")
        path.touch()
        path.chmod(mode)
        with as_user(65534):
            assert (exposed(path) == "") is private


@as_root
def test_a_file_that_root_begins_is_its_homes_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65533)
    begin_file(tmp_path, "audit.jsonl")
    found = (tmp_path / "audit.jsonl").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o600)


@pytest.mark.parametrize("root", [True, False])
def test_what_is_there_is_handed_over_and_by_root_alone(
    root: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Path] = []
    monkeypatch.setattr(paths, "is_root", lambda: root)
    monkeypatch.setattr(paths, "owner_of", lambda _: (7, 8))
    monkeypatch.setattr(paths.os, "chown", lambda path, *_owner, **_how: handed.append(path))
    (tmp_path / "vault.db").touch()
    hand_over(tmp_path, tmp_path / "vault.db", tmp_path / "none")
    assert handed == ([tmp_path / "vault.db"] if root else [])
