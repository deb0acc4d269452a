"""What a running `oo serve` writes down, and where; and what it does when its files are replaced."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from oo.gateway.models import Route
from tests.support.faults import READ, SILENCE, head, serving
from tests.support.processes import Home, get, needs_proc, until
from tests.support.waiting import PATIENCE

CANARY = "canary-a0d1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("audited") / "home").made(a=CANARY)


@pytest.fixture(scope="module")
def token(home: Home) -> str:
    return home.token("secret", "a")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@needs_proc
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_audits_file_is_opened_anew_where_it_is_rotated(
    home: Home, token: str, tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "log" / "audit"
    path.parent.mkdir()
    with home.serve("--workers", workers, "--audit", str(path)) as served:
        until(lambda: workers == "1" or len(served.workers()) == int(workers))
        assert served.get(token).status == 200
        path.rename(path.with_suffix(".1"))
        time.sleep(0.1)
        after = [served.get(token).headers["X-OO-Request-Id"] for _ in range(4)]
        assert [line["request_id"] for line in lines_of(path) if line["event"] == "end"] == after
        path.rename(path.with_suffix(".2"))
        for _ in range(2):
            served.process.send_signal(signal.SIGHUP)
            until(path.exists)
        assert served.get(token).status == 200
    assert len(lines_of(path)) == 2
    assert len(lines_of(path.with_suffix(".1"))) == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_audit_goes_to_standard_output_and_tells_whom_a_proxy_speaks_for(
    home: Home, token: str, workers: str
) -> None:
    options = ("--port", "0", "--workers", workers, "--audit", "-", "--trust-proxy", "127.0.0.0/8")
    process = home.start("serve", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stderr.readline().split()[3].decode()
        fields = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
        answered = get(url, token, **fields).headers["X-OO-Request-Id"]
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert [(line["event"], line["request_id"]) for line in lines] == [("begin", answered), ("end", answered)]
    assert {(line["peer"], line["forwarded_for"]) for line in lines} == {("127.0.0.1", "203.0.113.9")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--audit", "none/audit"), "oo: the audit none/audit cannot be written: No such file or directory"),
        (
            ("--trust-proxy", "proxy.example"),
            "oo: a trusted proxy is an address or a network, such as 10.0.0.0/8, not 'proxy.example'",
        ),
    ],
)
def test_settings_of_the_audit_that_do_not_work_are_one_line(home: Home, options: tuple[str, ...], said: str) -> None:
    for workers in ("1", "2"):
        done = home.oo("serve", "--port", "0", "--workers", workers, *options)
        assert (done.returncode, done.stderr) == (1, f"{said}\n")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("named", ["OO_HOME", "XDG_DATA_HOME"])
def test_a_gateway_over_another_store_makes_the_directory_of_its_audit(
    home: Home, token: str, tmp_path: Path, named: str, workers: str
) -> None:
    elsewhere = Home(tmp_path, **{"OO_HOME": "", named: str(tmp_path / "new" / "data")}, OO_STORE=str(home.path))
    with elsewhere.serve("--workers", workers) as served:
        assert served.get(token).status == 200
    (audit,) = tmp_path.rglob("audit.jsonl")
    assert [line["event"] for line in lines_of(audit)] == ["begin", "end"]
    assert (audit.stat().st_mode & 0o777, audit.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert elsewhere.oo("audit").stdout == audit.read_text()


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--check",)])
def test_a_gateway_whose_audit_cannot_be_begun_does_not_listen(
    home: Home, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    done = home.oo("serve", "--port", "0", *options, OO_STORE=str(home.path), OO_HOME=str(tmp_path / "file" / "data"))
    where = tmp_path / "file" / "data" / "audit.jsonl"
    said = f"oo: the audit {where} cannot be written: --audit or OO_HOME names another place\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@needs_proc
def test_a_worker_that_is_killed_leaves_the_line_of_a_call_that_began(home: Home) -> None:
    audit = home.path / "audit.jsonl"
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as upstream:
        home.run(lambda vault: vault.put_route(Route("held", upstream.url, allow_private=True)))
        opens = home.token("route", "held")
        with home.serve() as served:
            address = urlsplit(served.url)
            with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as caller:
                caller.sendall(
                    f"GET /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {opens}\r\n\r\n".encode()
                )
                assert caller.recv(65536)
                served.process.kill()
                served.process.wait()
    last = lines_of(audit)[-1]
    assert (last["event"], last["outcome"], last["target"], last["status"]) == ("begin", "begun", "held", None)


def test_a_vault_that_was_put_in_the_place_of_the_served_one_is_served(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made(a=CANARY)
    token = home.token("secret", "a", label="mine")
    with home.serve("--workers", "2") as served:
        assert served.get(token).status == 200
        copy = home.path / "copy.db"
        shutil.copy(home.path / "vault.db", copy)
        (home.path / "vault.db").unlink()
        assert {served.get(token).status for _ in range(6)} == {503}
        copy.rename(home.path / "vault.db")
        for side in ("-wal", "-shm"):
            (home.path / f"vault.db{side}").unlink(missing_ok=True)
        identity = home.token_id("mine")
        home.run(lambda vault: vault.revoke(identity))
        time.sleep(0.2)
        assert {served.get(token).status for _ in range(6)} == {401}
    assert "the vault was replaced or removed, and no call is answered" in served.log
