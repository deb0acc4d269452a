"""`oo serve`, and the way from a vault to a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from oo._commands._vault import with_vault
from oo.gateway.models import Route
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


def test_a_route_whose_kind_is_not_loaded_is_warned_of(vault: Inside, process: Process) -> None:
    with_vault(lambda kept: kept.put_route(Route("acme", "https://api.example", credentials=("acme-hmac a=b",))))
    said = process("serve", "--host", "192.0.2.1").stderr.splitlines()  # where it cannot listen
    assert [("'acme'" in line, "'acme-hmac'" in line, "oo serve --plugins" in line) for line in said] == [
        (True, True, True),
        (False, False, False),
    ]


def test_the_gateway_listens_on_loopback_alone_without_tls(vault: Inside, inside: Inside) -> None:
    assert "is not loopback" in refused(inside("serve", "--host", "0.0.0.0", "--port", "0"))
