"""`oo serve`, and the way from a vault to a call."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import oo
from oo._commands._vault import with_vault
from oo.gateway.models import Route
from tests.support.certificates import self_signed
from tests.support.command import Inside, Process, refused
from tests.support.waiting import PATIENCE


def test_a_whole_way_from_a_vault_to_a_call(home: Path, process: Process) -> None:
    assert process("init").returncode == 0
    assert process("secret", "set", "key", "--from-file", "-", input="sk-canary\n").returncode == 0
    token = process("token", "issue", "--secret", "key", "--uses", "1").stdout.strip()
    command = [sys.executable, "-m", "oo.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stderr is not None
        try:
            url = server.stderr.readline().removeprefix("oo: listening on ").strip()
            port = url.rpartition(":")[2]
            assert "cannot be listened on" in refused(process("serve", "--port", port))
            assert process("get", OO_TOKEN=token, OO_BASE_URL=url).stdout == "sk-canary"
            assert "not accepted" in refused(process("get", OO_TOKEN=token, OO_BASE_URL=url))
        finally:
            server.terminate()
        assert server.wait(PATIENCE) == 0
    outcomes = [json.loads(line)["outcome"] for line in process("audit").stdout.splitlines()]
    assert outcomes == ["begun", "allowed", "used up"]
    assert json.loads(process("token", "list", "--json").stdout)[0]["state"] == "used up"


def test_the_gateway_listens_on_loopback_alone_without_tls(vault: Inside, inside: Inside) -> None:
    assert "is not loopback" in refused(inside("serve", "--host", "0.0.0.0", "--port", "0"))


def test_what_would_be_is_said_and_nothing_listens(vault: Inside, inside: Inside, home: Path) -> None:
    with_vault(lambda kept: kept.put_route(Route("acme", "https://api.example", credentials=("acme-hmac a=b",))))
    said = inside("serve", "--check", "--grace", "5", "--workers", "2")
    assert said.exit_code == 0
    known = dict(line.split(": ", 1) for line in said.stdout.splitlines())
    assert known == {
        "listen": "127.0.0.1 port 3001",
        "version": oo.__version__,
        "store": str(home / "vault.db"),
        "workers": "2",
        "plugins": "none",
        "tls": "none",
        "audit": str(home / "audit.jsonl"),
        "admin": "none",
        "grace": "5 s",
        "max-conns": "4096, fewer where the system allows fewer files",
        "log": "text, info",
        "config": "none",
    }
    assert "'acme-hmac'" in said.stderr
    assert not (home / "audit.jsonl").exists()


def test_a_check_refuses_what_serving_would(home: Path, inside: Inside) -> None:
    assert "there is no master key" in refused(inside("serve", "--check"))


@pytest.mark.parametrize("check", [["--check"], []], ids=["checked", "served"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 is not loopback: callers' tokens need TLS"),
        (["--host", "no-such-host.invalid"], "no-such-host.invalid port 0 cannot be listened on"),
        (["--admin", "0.0.0.0:0"], "0.0.0.0 is not loopback: --admin needs TLS"),
        (["--admin", "nonsense"], "--admin nonsense cannot be listened on: it is neither HOST:PORT nor a path"),
    ],
)
def test_an_address_that_serving_would_refuse_is_refused_by_a_check(
    vault: Inside, inside: Inside, check: list[str], options: list[str], said: str
) -> None:
    assert said in refused(inside("serve", "--port", "0", *options, *check))


def test_where_nothing_can_be_written_what_is_counted_has_no_place(
    vault: Inside, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert "set TMPDIR" in refused(inside("serve", "--port", "0", "--admin", "127.0.0.1:0"))


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0", "--behind-tls-proxy"],
        ["--host", "::1"],
        ["--uds", "x", "--host", "0.0.0.0"],
        ["--admin", "127.0.0.1:{port}", "--port", "{port}"],  # which a gateway that runs may hold
    ],
)
def test_an_address_that_is_served_on_passes_a_check(vault: Inside, inside: Inside, options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        named = [option.format(port=taken.getsockname()[1]) for option in options]
        assert inside("serve", "--check", *named).exit_code == 0


def test_a_socket_and_a_certificate_do_not_go_together(vault: Inside, inside: Inside, tmp_path: Path) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    said = refused(inside("serve", "--uds", "x", "--tls-cert", made.file, "--tls-key", made.both), 2)
    assert "--uds speaks plain HTTP" in said


def test_what_is_warned_of_comes_after_the_first_line(
    home: Path, process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "master.key"
    assert process("init").returncode == 0
    with_vault(lambda kept: kept.put_route(Route("acme", "https://api.example", credentials=("acme-hmac a=b",))))
    (home / "master.key").rename(key)
    key.chmod(0o644)
    monkeypatch.setenv("OO_MASTER_KEY_FILE", str(key))
    command = [sys.executable, "-m", "oo.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stderr is not None
        lines = [server.stderr.readline() for _ in range(4)]
        server.terminate()
        server.stderr.read()
        assert server.wait(PATIENCE) in (0, -15)  # it may not be up yet
    assert lines[0].startswith("oo: listening on http://127.0.0.1:")
    assert lines[1].startswith("oo: version ")
    assert "'acme-hmac'" in lines[2]
    assert "which is the master key" in lines[3]
    assert all(line.startswith("oo: ") and not line.startswith("oo: oo: ") for line in lines)
