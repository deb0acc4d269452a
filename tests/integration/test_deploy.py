"""What `deploy/` holds runs as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.certificates import self_signed
from tests.support.processes import Home
from tests.support.waiting import PATIENCE

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    for name in ("double-o.service", "double-o.socket"):
        text = (DEPLOY / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/double-o/bin/oo", "/bin/true"), "utf-8")
    command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_settings_are_settings(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made()
    done = home.oo("serve", "--check", "--config", str(DEPLOY / "gateway.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "workers: 2\n" in done.stdout
    assert "admin: 127.0.0.1:3002\n" in done.stdout


def test_what_they_are_given_to_end_is_longer_than_what_calls_are() -> None:
    unit = (DEPLOY / "double-o.service").read_text("utf-8")
    assert "TimeoutStopSec=45\n" in unit
    assert "grace = 30\n" in (DEPLOY / "gateway.toml").read_text("utf-8")


@pytest.mark.parametrize("tls", [False, True])
def test_the_container_is_healthy_whatever_its_callers_speak(tmp_path: Path, tls: bool) -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    (check,) = re.findall(r"HEALTHCHECK .*?CMD (\[.*\])", text)
    (admin,) = re.findall(r"OO_ADMIN=(\S+)", text)
    made, path = self_signed(tmp_path, "127.0.0.1"), str(tmp_path / "admin.sock")
    home = Home(tmp_path / "home", OO_ADMIN=path).made()
    command = [part.replace(quote(admin, safe=""), quote(path, safe="")) for part in json.loads(check)]
    with home.serve(*(("--tls-cert", made.file, "--tls-key", made.both) if tls else ())):
        assert home.oo(*command[1:]).returncode == 0
    assert home.oo(*command[1:]).returncode == 1
