"""The commands that call a gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import CANARY, Inside, Process, refused
from tests.support.terminal import Terminal


def test_get_in_a_pipe_prints_the_secret_and_not_a_byte_more(secret: str, process: Process) -> None:
    done = process("get")
    assert (done.returncode, done.stdout, done.stderr) == (0, CANARY, "")


def test_get_on_a_terminal_ends_the_line(secret: str) -> None:
    with Terminal("get") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == f"{CANARY}\r\n"


@pytest.mark.parametrize("value", ["käse\n", "two\nlines\n\n", "\x1b[31m", "\r\n"])
def test_get_prints_what_the_secret_is_in_any_locale(
    value: str, gateway: oo.testing.LocalGateway, process: Process
) -> None:
    done = process("get", OO_TOKEN=gateway.secret("key", value), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == value.replace("\r\n", "\n")  # which is how subprocess reads text


def test_health_says_up_wherever_it_is_told_to_look(
    gateway: oo.testing.LocalGateway, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inside("health").stdout == "up\n"
    monkeypatch.setenv("OO_BASE_URL", "http://127.0.0.1:9")
    assert inside("health", "--base-url", gateway.url).stdout == "up\n"


def test_export_writes_a_file_for_nobody_else(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"KEY": CANARY, "MODE": "two words"}))
    result = inside("export")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", ".env: KEY, MODE\n")
    assert (tmp_path / ".env").read_text() == f"KEY={CANARY}\nMODE='two words'\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").write_text("OLD=1")
    assert inside("export", "other", "--append").exit_code == 0
    assert (tmp_path / "other").read_text() == f"OLD=1\nKEY={CANARY}\nMODE='two words'\n"
    assert inside("export", "other").exit_code == 0
    assert (tmp_path / "other").read_text() == f"KEY={CANARY}\nMODE='two words'\n"


def test_export_writes_no_name_that_steers_loading_unless_allowed(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"LD_PRELOAD": "/tmp/x.so"}))
    path = tmp_path / ".env"
    assert "LD_PRELOAD" in refused(inside("export", str(path)))
    assert not path.exists()
    assert inside("export", str(path), "--allow", "LD_PRELOAD").exit_code == 0
    assert path.read_text() == "LD_PRELOAD=/tmp/x.so\n"


def test_export_to_a_place_that_cannot_be_is_one_line(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"KEY": CANARY}))
    for path in (tmp_path, tmp_path / "none" / ".env"):
        line = refused(inside("export", str(path)))
        assert str(path) in line
        assert CANARY not in line


@pytest.mark.parametrize("place", ["-", "/dev/stdout"])
def test_export_may_go_to_standard_output(
    place: str, gateway: oo.testing.LocalGateway, process: Process, tmp_path: Path
) -> None:
    token = gateway.environment("web", {"KEY": CANARY, "DB_PASSWORD": "pa$$w\"o'rd", "DB_HOST": "h"})
    done = process("export", place, "--only", "DB_*", "--format", "json", OO_TOKEN=token)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"DB_PASSWORD": "pa$$w\"o'rd", "DB_HOST": "h"}
    # What does not fit the format is not begun.
    assert "DB_PASSWORD" in refused(process("export", place, OO_TOKEN=token))
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, "-m", "oo", "export", place, "--format", "sh", "--only", "KEY"]
        subprocess.run(command, stdout=out, check=True, env={**os.environ, "OO_TOKEN": token})
        assert os.fstat(out.fileno()).st_ino == (tmp_path / "out").stat().st_ino
    assert (tmp_path / "out").read_text() == f"KEY={CANARY}\n"


def test_get_on_a_terminal_does_not_steer_it(gateway: oo.testing.LocalGateway) -> None:
    with Terminal("get", OO_TOKEN=gateway.secret("loud", "val\x1b]0;owned\x07ue")) as terminal:
        assert terminal.end() == 0
    assert terminal.shown == "val?]0;owned?ue\r\n"
