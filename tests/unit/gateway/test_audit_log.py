from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from oo._http.headers import Headers
from oo.gateway.audit_log import AUDIT_FILE, AuditLog, AuditSettings
from oo.gateway.audit_reader import read
from oo.gateway.context import GatewayContext
from oo.gateway.errors import AuditFailed, StoreError
from oo.gateway.models import Rate, Route, SecretRef
from oo.gateway.tokens import new_token
from oo.gateway.vault import Vault
from oo.testing import BackgroundLoop
from tests.support.processes import Home, Serving, files, get, needs_proc, until
from tests.support.upstream import OpenAI
from tests.support.vaults import spend
from tests.support.waiting import PATIENCE

CANARY = "canary-77a0"
FIELDS = [
    *("time", "event", "request_id", "token_id", "label", "operation", "kind", "target", "method", "path", "peer"),
    *("forwarded_for", "outcome", "status", "ms", "bytes_in", "bytes_out", "upstream", "upstream_request_id"),
]


class Place(NamedTuple):
    """A running `oo serve` over a vault that holds one of everything, each with a token."""

    home: Home
    served: Serving
    tokens: dict[str, str]
    upstream: OpenAI
    hanging: socket.socket

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.home.path)

    def lines_about(self, request_id: str) -> list[dict[str, Any]]:
        """The lines of a request."""
        return [line for line in self.lines() if line["request_id"] == request_id]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The one line of a request's end."""
        (line,) = [line for line in self.lines_about(request_id) if line["event"] == "end"]
        return line

    def id_of(self, label: str) -> str:
        return self.home.token_id(label)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = Home(tmp_path_factory.mktemp("audit") / "home").made()
    with (
        BackgroundLoop() as background,
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as hanging,
    ):
        upstream = background.enter(OpenAI())
        slow, hangs = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (silent, hanging))

        async def fill(vault: Vault) -> dict[str, str]:
            for name in ("a", "gone"):
                await vault.put_secret(name, CANARY)
            await vault.put_environment("e", {"A": SecretRef("a"), "B": f"{CANARY} literal"})
            inject = {"X-Key": f"{CANARY} {{a}}"}
            await vault.put_route(Route("r", upstream.url, inject, ("* /v1/*", "* /echo"), allow_private=True))
            await vault.put_route(Route("down", "http://127.0.0.1:9", inject, allow_private=True))
            await vault.put_route(Route("private", upstream.url, inject))
            await vault.put_route(Route("slow", slow, inject, timeout=0.3, allow_private=True))
            await vault.put_route(Route("hangs", hangs, inject, timeout=30, allow_private=True))
            made: dict[str, str] = {"unknown": new_token(), "malformed": f"oo_{CANARY}"}
            for label, kind, name, terms in (
                ("secret", "secret", "a", {}),
                ("env", "env", "e", {}),
                ("expired", "secret", "a", {"ttl": -1.0}),
                ("revoked", "secret", "a", {}),
                ("used up", "secret", "a", {"uses": 0}),
                ("rate", "secret", "a", {"rate": Rate(1, 3600.0)}),
                ("gone", "secret", "gone", {}),
                *((route, "route", route, {}) for route in ("r", "down", "private", "slow", "hangs")),
            ):
                made[label] = await vault.issue(kind, name, label=label, **terms)  # type: ignore[arg-type]
            await vault.revoke(next(each.id for each in await vault.tokens() if each.label == "revoked"))
            await spend(vault, made["rate"], "secret")
            return made

        tokens = home.run(fill)
        with home.serve() as served:
            yield Place(home, served, tokens, upstream, hanging)
            # Whatever the tests of this file did: nothing that is secret was written down anywhere.
            found = files(home.path)
            for hidden in (CANARY, *tokens.values()):
                assert hidden.encode() not in found


def test_the_audit_is_its_owners_alone(place: Place) -> None:
    assert stat.S_IMODE((place.home.path / AUDIT_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("label", "path", "status", "operation", "target", "outcome"),
    [
        ("secret", "/api/secret", 200, "secret", "a", "allowed"),
        ("env", "/api/env", 200, "env", "e", "allowed"),
        ("r", "/api/proxy/v1/models", 200, "proxy", "r", "allowed"),
        ("r", "/api/proxy/v1/none", 404, "proxy", "r", "allowed"),
        (None, "/api/secret", 401, "secret", None, "no token"),
        ("malformed", "/api/secret", 401, "secret", None, "malformed"),
        ("unknown", "/api/secret", 401, "secret", None, "unknown"),
        ("env", "/api/secret", 401, "secret", None, "wrong kind"),
        ("secret", "/api/proxy/v1/models", 401, "proxy", None, "wrong kind"),
        ("expired", "/api/secret", 401, "secret", None, "expired"),
        ("revoked", "/api/secret", 401, "secret", None, "revoked"),
        ("used up", "/api/secret", 401, "secret", "a", "used up"),
        ("rate", "/api/secret", 429, "secret", "a", "rate"),
        ("r", "/api/proxy/v1/%2e%2e/x", 400, "proxy", "r", "bad path"),
        ("r", "/api/proxy/v2/models", 403, "proxy", "r", "not allowed"),
        ("down", "/api/proxy/v1/models", 502, "proxy", "down", "upstream connection"),
        ("private", "/api/proxy/v1/models", 502, "proxy", "private", "upstream argument"),
        ("slow", "/api/proxy/v1/models", 504, "proxy", "slow", "upstream timeout"),
        ("secret", "/none", 404, "other", None, "no such place"),
    ],
)
def test_each_call_has_a_line_when_it_ends_and_one_when_it_begins_unless_it_is_refused_before(
    place: Place, label: str | None, path: str, status: int, operation: str, target: str | None, outcome: str
) -> None:
    before, started = len(place.lines()), datetime.now(timezone.utc)
    got = get(place.served.url, None if label is None else place.tokens[label], path)
    assert got.status == status
    assert status == 200 or CANARY not in got.body
    line = place.line_of(got.headers["X-Request-Id"])
    lines = place.lines_about(got.headers["X-Request-Id"])
    begun = target is not None and outcome not in ("bad path", "not allowed", "used up", "rate")
    assert [each["event"] for each in lines] == (["begin", "end"] if begun else ["end"])
    assert len(place.lines()) == before + len(lines)
    assert list(line) == FIELDS
    known = label not in (None, "malformed", "unknown") and operation != "other"
    expected = {
        "token_id": place.id_of(str(label)) if known else None,
        "label": label if known else None,
        "operation": operation,
        "kind": None if target is None else "route" if operation == "proxy" else operation,
        "target": target,
        "outcome": outcome,
        "status": status,
        "method": "GET",
        "path": path if known or path == "/api/secret" else None,
        "peer": "127.0.0.1",
        "forwarded_for": None,
        "bytes_in": 0,
        "bytes_out": len(got.body),
        "upstream_request_id": None,
    }
    same = FIELDS[3:12]
    assert [{name: each[name] for name in same} for each in lines] == [{name: line[name] for name in same}] * len(lines)
    assert (lines[0]["outcome"], lines[0]["status"]) == (("begun", None) if begun else (outcome, status))
    assert {name: line[name] for name in expected} == expected
    assert timedelta(milliseconds=-1) <= datetime.fromisoformat(line["time"]) - started < timedelta(seconds=5)
    assert 0 <= line["ms"] < 5000


def test_a_token_of_a_thing_that_is_gone_is_denied(place: Place) -> None:
    identity = place.id_of("gone")
    place.home.run(lambda vault: vault.remove("secret", "gone"))
    line = place.line_of(get(place.served.url, place.tokens["gone"]).headers["X-Request-Id"])
    assert (line["token_id"], line["outcome"], line["status"]) == (identity, "revoked", 401)


def test_an_idempotency_key_for_another_call_is_a_conflict(place: Place) -> None:
    for path, status, outcome in (("v1/models", 200, "allowed"), ("v1/other", 422, "idempotency conflict")):
        key = {"Idempotency-Key": f"{CANARY}-key"}
        got = get(place.served.url, place.tokens["r"], f"/api/proxy/{path}", "POST", **key)
        line = place.line_of(got.headers["X-Request-Id"])
        assert (got.status, line["status"], line["outcome"]) == (status, status, outcome)


def test_a_caller_that_leaves_is_written_down(place: Place) -> None:
    before = len(place.lines())
    address = urlsplit(place.served.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as caller:
        token = place.tokens["hangs"]
        caller.sendall(
            f"GET /api/proxy/x?{CANARY} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        place.hanging.settimeout(PATIENCE)
        with place.hanging.accept()[0]:
            time.sleep(0.1)
            assert [line["event"] for line in place.lines()[before:]] == ["begin"]
            caller.close()
            until(lambda: len(place.lines()) > before + 1)
    _, line = place.lines()[before:]
    assert (line["target"], line["outcome"], line["status"]) == ("hangs", "left", 499)
    assert line["ms"] >= 90


def test_health_is_no_decision(place: Place) -> None:
    before = place.lines()
    assert get(place.served.url, place.tokens["secret"], "/health").status == 200
    assert place.lines() == before


def test_every_one_of_many_requests_at_once_has_lines_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path).made(a="value")
    token = home.token("secret", "a")
    with home.serve("--workers", "2") as served, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: get(served.url, token).headers["X-Request-Id"], range(200)))
    lines = lines_of(home.path)
    for event in ("begin", "end"):
        assert sorted(line["request_id"] for line in lines if line["event"] == event) == sorted(answers)
    assert all(re.fullmatch("[0-9a-f]{32}", line["request_id"]) for line in lines)


def test_follow_shows_lines_as_they_come_from_the_first_on(tmp_path: Path) -> None:
    home = Home(tmp_path).made()
    follower = home.start("audit", "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert follower.stdout is not None
        assert follower.stderr is not None
        with home.serve() as served:
            for _ in range(3):
                got = get(served.url, None)
                line = json.loads(_line(follower.stdout))
                assert line["request_id"] == got.headers["X-Request-Id"]
        assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 130
        assert follower.stderr.read().strip() == b""  # at most the end of the ^C line
    finally:
        follower.kill()
        follower.communicate()
    assert len(home.oo("audit").stdout.splitlines()) == 3


def _line(stream: Any) -> bytes:
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(PATIENCE)
    assert lines, "no line came in time"
    return lines[0]


def context(**attributes: Any) -> GatewayContext:
    made = GatewayContext()
    made.started = time.monotonic()
    for name, value in {"endpoint": "secret", "kind": "secret", "target": "a", **attributes}.items():
        setattr(made, name, value)
    return made


def kept(home: Path, **settings: Any) -> AuditLog:
    return AuditSettings(**settings).open(home)


def lines_of(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(home / AUDIT_FILE)]


@contextmanager
def limited(path: Path, room: int) -> Iterator[None]:
    """No file of this process may grow beyond `path` and some bytes more."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [0, 1, 100], ids=["none", "a byte", "half a line"])
def test_what_a_full_disk_cuts_short_is_counted_and_spoils_no_other_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    audit = kept(tmp_path)
    audit.end(context(target="before"), "allowed", 200, 0)
    with limited(tmp_path / AUDIT_FILE, room):
        for _ in range(10):
            audit.begin(context(target="lost"))
            audit.end(context(target="lost"), "allowed", 200, 0)
    for target in ("after", "later"):
        audit.end(context(target=target), "allowed", 200, 0)
    audit.close()
    found = lines_of(tmp_path)
    assert [(line["event"], line["target"]) for line in found] == [
        ("end", "before"),
        ("lost", None),
        ("end", "after"),
        ("end", "later"),
    ]
    assert found[1]["count"] == 20
    assert all("decisions are missing in the audit: " in said for said in caplog.messages)
    assert len(set(caplog.messages)) == len(caplog.messages) in (1, 2)


def test_where_the_audit_is_required_a_call_goes_on_with_its_line_alone(tmp_path: Path) -> None:
    audit, began = kept(tmp_path, required=True), context()
    audit.begin(began)
    with limited(tmp_path / AUDIT_FILE, 0):
        for _ in range(2):
            with pytest.raises(AuditFailed) as refused:
                audit.begin(context())
        assert not audit.end(context(), "allowed", 200, 0)
        assert audit.end(began, "allowed", 200, 0)  # it has one
    audit.begin(context())
    audit.close()
    assert (refused.value.status, refused.value.outcome) == (503, "audit failed")
    assert [(line["event"], line.get("count")) for line in lines_of(tmp_path)] == [
        ("begin", None),
        ("lost", 4),
        ("begin", None),
    ]


@needs_proc
@pytest.mark.parametrize("options", [(), ("--audit-required",)])
def test_whether_an_answer_comes_where_no_line_can_be_written_is_the_owners_to_say(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    import resource

    home = Home(tmp_path).made(a="value")
    token = home.token("secret", "a")
    size = 1 << 20  # larger than whatever else the server writes to
    (tmp_path / AUDIT_FILE).write_text(" " * (size - 1) + "\n")
    with home.serve(*options) as served:
        limits = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
        for _ in range(3):
            got = served.get(token)
            assert (got.status, "value" in got.body) == ((503, False) if options else (200, True))
        until(lambda: "oo: decisions are missing in the audit: File too large (1 so far)" in served.log)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, limits)
        after = served.get(token).headers["X-Request-Id"]
    assert [(line["event"], line["request_id"]) for line in lines_of(tmp_path)] == [
        ("lost", None),
        ("begin", after),
        ("end", after),
    ]


def test_a_second_run_goes_on_behind_the_first(tmp_path: Path) -> None:
    for target in ("one\n", "two"):
        audit = kept(tmp_path)
        audit.end(context(target=target), "allowed", 200, 0)
        audit.close()
    assert [line["target"] for line in lines_of(tmp_path)] == ["one\n", "two"]


def test_an_audit_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the audit .*none/a cannot be written: No such file"):
        kept(tmp_path, target=str(tmp_path / "none" / "a"))


def test_a_file_is_opened_anew_when_it_is_asked_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "home"
    home.mkdir()
    audit = kept(home)
    home.rename(tmp_path / "away")
    audit.reopen()
    assert caplog.messages == ["the audit cannot be opened anew: No such file or directory"]
    home.mkdir()
    audit.reopen()
    assert (home / AUDIT_FILE).exists()
    audit.close()


@pytest.mark.parametrize(("proxies", "told"), [((), None), (("10.0.0.0/8",), "203.0.113.9")])
def test_who_called_is_told_by_a_trusted_proxy_alone(tmp_path: Path, proxies: tuple[str, ...], told: str) -> None:
    audit = kept(tmp_path, proxies=proxies)
    assert audit.forwarded_for("10.0.0.1", Headers([("X-Forwarded-For", "203.0.113.9")])) == told
    assert audit.forwarded_for("11.0.0.1", Headers([("X-Forwarded-For", "203.0.113.9")])) is None
    audit.close()


async def test_of_a_flood_that_opens_nothing_most_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.audit_log.REFUSALS", 3)
    audit = kept(tmp_path)

    def write(outcome: str, status: int = 401, target: str | None = None, token_id: str | None = None) -> None:
        audit.end(context(target=target, token_id=token_id), outcome, status, 0)

    def lines(outcome: str) -> list[dict[str, Any]]:
        return [line for line in lines_of(tmp_path) if line["outcome"] == outcome]

    for _ in range(50):
        write("allowed", 200, "a")
        write("malformed")
        write("rate", 429, "a", token_id="some")
    # What opened something has a line each; nothing is summed up before the second is over.
    assert len(lines("allowed")) == 50
    assert not any("count" in line for outcome in ("malformed", "rate") for line in lines(outcome))
    await asyncio.sleep(1.1)
    for outcome, token_id, target in (("malformed", None, None), ("rate", "some", "a")):
        *own, last = lines(outcome)
        assert set(last) == {*FIELDS, "count"}
        assert (last["request_id"], last["token_id"], last["operation"]) == (None, token_id, "secret")
        assert last["target"] == target
        assert last["count"] + len(own) == 50
        assert len(own) <= 6
    for _ in range(10):
        write("malformed")
    audit.close()
    assert sum(line.get("count", 1) for line in lines("malformed")) == 60


async def test_a_call_that_began_has_its_end_in_a_flood_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.audit_log.REFUSALS", 0)
    audit, call = kept(tmp_path), context()
    audit.begin(call)
    call.target = None  # used up meanwhile
    audit.end(call, "used up", 401, 0)
    audit.close()
    assert [(line["event"], line["request_id"], line["target"]) for line in lines_of(tmp_path)] == [
        ("begin", call.id, "a"),
        ("end", call.id, "a"),
    ]


class Failing:
    """A sink that fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.lines: list[dict[str, object]] = []

    def write(self, line: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "no room")
        self.lines.append(json.loads(line))

    def check(self) -> None:
        if self.failures:
            raise OSError(28, "no room")

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_it_is_writable_once_what_was_lost_could_be_told() -> None:
    sink, told = Failing(2), [0]
    log = AuditLog(sink)
    log.told = lambda: told.append(1)
    assert not log.is_writable()
    log.cut(3)
    assert not log.is_writable()
    sink.failures = 0
    assert log.is_writable()
    log.cut(2)
    assert [(line["event"], line["outcome"], line["count"]) for line in sink.lines] == [
        ("lost", "lost", 1),
        ("cut", "cut", 2),
    ]
    assert told == [0, 1]


async def test_a_flood_of_strangers_takes_no_line_from_a_token_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.audit_log.REFUSALS", 3)
    audit = kept(tmp_path)
    for _ in range(50):
        audit.end(context(target=None, token_id=None), "malformed", 401, 0)
    for _ in range(3):
        audit.end(context(target="a", token_id="some"), "not allowed", 403, 0)
    audit.close()
    own = [line for line in lines_of(tmp_path) if line["outcome"] == "not allowed"]
    assert [line.get("count") for line in own] == [None] * 3
