from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.keyring import key_path, load, read_keys, write_keys

OLD, NEW = b"o" * 32, b"n" * 32


def text(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def test_the_key_is_of_the_environment_else_of_the_named_file_else_beside_the_vault(tmp_path: Path) -> None:
    beside, named = tmp_path / "home", tmp_path / "elsewhere" / "key"
    write_keys(key_path(beside, {}), [b"1" * 32])
    write_keys(named, [b"2" * 32])
    there = {"OO_MASTER_KEY_FILE": str(named)}
    assert read_keys(beside, {}) == [b"1" * 32]
    assert read_keys(beside, there) == [b"2" * 32]
    assert read_keys(beside, {**there, "OO_MASTER_KEY": text(OLD)}) == [OLD]
    assert read_keys(beside, {"OO_MASTER_KEY": text(OLD, NEW)}) == [OLD, NEW]


@pytest.mark.parametrize("environ", [{}, {"OO_MASTER_KEY": ""}, {"OO_MASTER_KEY_FILE": ""}])
def test_where_there_is_no_key_the_message_says_what_to_do(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(StoreError, match=r"there is no master key at .*master\.key: run `oo init`, or set OO_MASTER_K"):
        load(tmp_path, environ)


@pytest.mark.parametrize("environ", [{}, {"OO_MASTER_KEY_FILE": "/no/such/file"}])
def test_a_vault_that_has_lost_its_key_is_not_given_another(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "vault.db").touch()
    with pytest.raises(StoreError, match="put back the one that it was made with, or set OO_MASTER_KEY") as caught:
        load(tmp_path, environ)
    assert "oo init" not in str(caught.value)


@pytest.mark.parametrize("bad", ["x", "AAAA", "é" * 44, text(OLD) + ",short", text(OLD)[:-4], "=" * 44, ","])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, bad: str) -> None:
    with pytest.raises(StoreError, match="OO_MASTER_KEY holds no master key: 32 bytes in base64") as caught:
        load(tmp_path, {"OO_MASTER_KEY": bad})
    (tmp_path / "master.key").write_text(bad)
    with pytest.raises(
        StoreError, match=r"master\.key (holds no master key|cannot be read: UnicodeDecodeError)"
    ) as told:
        load(tmp_path, {})
    for error in (caught.value, told.value):
        assert len(bad) < 9 or bad not in str(error)
        assert text(OLD)[:-4] not in str(error)


def test_a_key_file_that_cannot_be_read_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: IsADirectoryError"):
        load(tmp_path, {"OO_MASTER_KEY_FILE": str(tmp_path)})


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_keys(tmp_path / "new" / "key", [OLD])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_ring_grows_by_a_key_and_shrinks_to_its_last(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for keys in ([OLD], [OLD, NEW], [OLD, NEW], [NEW], [NEW]):
        write_keys(path, keys)
        assert read_keys(tmp_path, {"OO_MASTER_KEY_FILE": str(path)}) == keys
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("keys", [[NEW], [NEW, OLD], [b"x" * 32, NEW]])
def test_a_key_that_somebody_may_need_is_not_written_over(tmp_path: Path, keys: list[bytes]) -> None:
    path = tmp_path / "key"
    write_keys(path, [OLD])
    with pytest.raises(StoreError, match="holds another master key by now"):
        write_keys(path, keys)
    assert path.read_text() == text(OLD) + "\n"


def test_a_key_file_behind_a_link_is_written_where_it_lies(tmp_path: Path) -> None:
    real, link = tmp_path / "safe" / "key", tmp_path / "link"
    write_keys(real, [OLD])
    link.symlink_to(real)
    write_keys(link, [OLD, NEW])
    assert link.is_symlink()
    assert real.read_text().split() == [text(OLD), text(NEW)]


def test_a_key_is_taken_in_any_usual_spelling(tmp_path: Path) -> None:
    key = bytes(range(220, 252))
    plain, url = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert plain != url
    for spelling in (plain, url, plain.rstrip("="), url.rstrip("="), key.hex(), key.hex().upper(), f" {plain}\r\n"):
        assert read_keys(tmp_path, {"OO_MASTER_KEY": spelling}) == [key], spelling
        assert read_keys(tmp_path, {"OO_MASTER_KEY": f"\ufeff{spelling},{text(OLD)}"}) == [key, OLD]
        path = tmp_path / "key"
        path.touch(0o600)
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path.write_bytes(spelling.encode(encoding))
            assert read_keys(tmp_path, {"OO_MASTER_KEY_FILE": str(path)}) == [key]


@pytest.mark.parametrize("bad", ["ab" * 31, "ab" * 33, "zz" * 32, text(OLD)[:-2], text(OLD) + "A"])
def test_a_spelling_of_another_length_is_none(bad: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="32 bytes in base64 or hex"):
        read_keys(tmp_path, {"OO_MASTER_KEY": bad})


def test_a_key_file_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    write_keys(key_path(tmp_path, {}), [OLD])
    with pytest.raises(StoreError, match=r"OO_MASTER_KEY_FILE names .*none, and there is no file"):
        read_keys(tmp_path, {"OO_MASTER_KEY_FILE": str(tmp_path / "none")})


def test_a_tilde_in_the_name_of_a_key_file_is_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_path(tmp_path, {"OO_MASTER_KEY_FILE": "~/k/key"}) == tmp_path / "k" / "key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o444])
def test_a_key_that_others_can_read_is_refused_at_home_and_warned_of_elsewhere(mode: int, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for place in (home, elsewhere):
        write_keys(place / "master.key", [OLD])
        (place / "master.key").chmod(mode)
    for environ in ({}, {"OO_MASTER_KEY_FILE": str(home / "master.key")}):
        with pytest.raises(StoreError, match=r"others can read .*`chmod 600 "):
            read_keys(home, environ)
    with pytest.warns(UserWarning, match=r"others can read .*master key"):
        assert read_keys(home, {"OO_MASTER_KEY_FILE": str(elsewhere / "master.key")}) == [OLD]


def test_a_home_that_others_can_write_is_refused_wherever_the_key_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(StoreError, match="chmod go-w"):
        read_keys(tmp_path, {"OO_MASTER_KEY": text(OLD)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_whoever_could_read_a_key_can_after_root_has_written_it(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_keys(path, [OLD])
    os.chown(path, 65534, 65533)
    path.chmod(mode)
    for keys in ([OLD, NEW], [NEW]):
        write_keys(path, keys)
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, mode | 0o600)
