from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.support.command import Inside, refused
from tests.support.faults import nobody
from tests.support.processes import Home, until
from tests.support.terminal import Terminal


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").made(a="value of a")


def test_what_runs_now_is_shown_by_route_and_by_token(home: Home, tmp_path: Path) -> None:
    admin = str(tmp_path / "admin.sock")
    token = home.token("secret", "a", label="mine")
    with home.serve("--admin", admin) as served:
        for _ in range(3):
            assert served.get(token).status == 200
        found = json.loads(home.oo("top", "--admin", admin, "--interval", "0.1", "--json").stdout)
        assert [(row["route"], row["calls"], row["open"]) for row in found["routes"]] == [("(the vault)", 3, 0)]
        assert [(row["token"], row["calls"]) for row in found["tokens"]] == [(home.token_id("mine"), 3)]
        plain = home.oo("top", "--admin", admin, "--interval", "0.1").stdout.splitlines()
        assert plain[0].split("\t")[:2] == ["(the vault)", "0"]
        with Terminal("top", "--admin", admin, "--interval", "0.1") as terminal:
            terminal.until("(the vault)")
            terminal.send("\x03")
            assert terminal.end() in (0, 130)


def test_a_listener_that_is_not_there_or_asks_for_a_token_is_said(inside: Inside, tmp_path: Path) -> None:
    with nobody() as url:
        for admin in (str(tmp_path / "none.sock"), url.removeprefix("http://")):
            said = refused(inside("top", "--admin", admin))
            assert f"{admin} cannot be asked: " in said
            assert said.rstrip().endswith(f"; start the gateway with `oo serve --admin {admin}`")


def test_a_token_is_shown_where_one_is_asked_for(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        admin = f"127.0.0.1:{sock.getsockname()[1]}"
    with home.serve("--admin", admin, "--metrics-token-file", str(file)) as served:
        until(lambda: served.is_up())
        assert "answers 401" in home.oo("top", "--admin", admin).stderr
        done = home.oo("top", "--admin", admin, "--token-file", str(file), "--interval", "0.1")
        assert (done.returncode, done.stderr) == (0, "")
