"""A request's body goes upstream as it comes, whoever of the two is slow, early, or gone."""

from __future__ import annotations

import gc
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from oo.gateway.app import Gateway
from oo.gateway.http_server import data_rate
from oo.testing import BackgroundLoop, LocalGateway, temporary_vault
from tests.support.faults import answer
from tests.support.listening import Listener
from tests.support.stores import Notes
from tests.support.waiting import PATIENCE

PIECE = b"x" * (64 << 10)
CHUNKED = b"Transfer-Encoding: chunked"


class Upstream(Listener):
    """Takes a head, then up to `most` bytes of what follows, and answers; `got` is what came behind the heads.

    It answers `early`: before the body. `ended` is set when a connection has.
    """

    def __init__(self, most: int = 1 << 40, reply: bytes = answer(b"taken"), early: bool = False) -> None:
        self.heads: list[bytes] = []
        self.got = bytearray()
        self.came = threading.Condition()
        self.ended = threading.Event()
        self.over = threading.Event()
        self.most = most
        self.reply = reply
        self.early = early
        super().__init__()

    def close(self) -> None:
        self.over.set()
        super().close()

    def accepted(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.start(self._serve, connection)

    def wait_for(self, size: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= size, PATIENCE), len(self.got)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                self._take(connection)
        finally:
            self.ended.set()

    def _take(self, connection: socket.socket) -> None:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += connection.recv(1 << 16)
        head, _, rest = buffer.partition(b"\r\n\r\n")
        self.heads.append(head)
        if self.early:
            connection.sendall(self.reply)
        self._add(rest)
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), None)
        while len(self.got) < self.most:
            if len(self.got) == length or (length is None and self.got.endswith(b"0\r\n\r\n")):
                break
            if not (data := connection.recv(1 << 16)):
                return
            self._add(data)
        else:
            self.over.wait(PATIENCE if self.reply else 0)
            return
        if not self.early:
            connection.sendall(self.reply)
        while connection.recv(1 << 16):
            pass

    def _add(self, data: bytes) -> None:
        with self.came:
            self.got += data
            self.came.notify_all()


class Site:
    """A gateway with an audit, and what it holds."""

    def __init__(self, background: BackgroundLoop) -> None:
        self.notes = Notes()
        self.token = ""
        vault = background.enter(temporary_vault())
        self.server = Gateway(vault, audit=self.notes)
        background.enter(self.server)
        self.local = LocalGateway(self.server.url, vault, background)

    def begin(self, upstream: Upstream, *fields: bytes, **settings: Any) -> socket.socket:
        """A call whose body is still to come."""
        self.token = self.token or self.local.route("r", upstream.url, **settings)
        parts = urlsplit(self.server.url)
        caller = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE)
        lines = [
            b"POST /api/proxy/x HTTP/1.1",
            b"Host: x",
            b"Authorization: Bearer " + self.token.encode(),
            *fields,
            b"",
            b"",
        ]
        caller.sendall(b"\r\n".join(lines))
        return caller

    def outcome(self) -> str:
        """What the audit says of the one call."""
        end = time.monotonic() + PATIENCE
        while not self.notes.outcomes and time.monotonic() < end:
            time.sleep(0.01)
        return self.notes.outcomes[-1]


@pytest.fixture
def site() -> Iterator[Site]:
    with BackgroundLoop() as background:
        yield Site(background)
    gc.collect()  # what was left unclosed warns, which fails


def fill(caller: socket.socket) -> int:
    """Send until nobody takes any more; how many bytes went."""
    sent = 0
    try:
        while True:
            sent += caller.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
    except TimeoutError:
        return sent


def read(caller: socket.socket) -> tuple[int, bytes]:
    """The answer's status, and all that came."""
    got = b""
    while b"\r\n\r\n" not in got or (b"Content-Length" in got and not got.partition(b"\r\n\r\n")[2]):
        if not (data := caller.recv(1 << 16)):
            break
        got += data
    return int(got.split(b" ", 2)[1]), got


@pytest.mark.parametrize("framing", [b"Content-Length: 6", CHUNKED])
def test_each_piece_goes_on_as_it_comes(site: Site, framing: bytes) -> None:
    with Upstream() as upstream, site.begin(upstream, framing) as caller:
        for size, piece in ((3, b"one"), (6, b"two")):
            caller.sendall(b"3\r\n%b\r\n" % piece if framing == CHUNKED else piece)
            upstream.wait_for(size)  # were it gathered, this would not come
        if framing == CHUNKED:
            caller.sendall(b"0\r\n\r\n")
        assert read(caller)[0] == 200
        assert framing in upstream.heads[0]
    assert site.outcome() == "allowed"


def test_no_more_is_taken_than_goes_on(site: Site) -> None:
    with Upstream(most=1) as upstream, site.begin(upstream, CHUNKED) as caller:
        caller.settimeout(0.5)
        assert fill(caller) < 32 << 20  # what the buffers of two connections hold


@pytest.mark.parametrize("reply", [answer(b"no", status=b"413 Too Large"), answer(b"no", b"Connection: close")])
def test_an_answer_before_the_whole_body_passes_at_once(site: Site, reply: bytes) -> None:
    with Upstream(early=True, reply=reply) as upstream, site.begin(upstream, b"Content-Length: 1000000") as caller:
        caller.sendall(PIECE)
        status, got = read(caller)
        assert (b"%d" % status in reply, got[-2:]) == (True, b"no")
        assert upstream.ended.wait(PATIENCE)  # half a request is never followed by another
    assert site.outcome() == "allowed"


def test_a_caller_that_sends_on_gets_what_was_answered_before(site: Site) -> None:
    reply = answer(b"no", status=b"413 Too Large")
    with Upstream(early=True, most=1, reply=reply) as upstream, site.begin(upstream, CHUNKED) as caller:
        with suppress(OSError):
            for _ in range(400):
                caller.sendall(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        assert read(caller)[0] == 413


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", CHUNKED])
def test_a_caller_that_leaves_halfway_takes_the_call_with_it(site: Site, framing: bytes) -> None:
    with Upstream() as upstream:
        with site.begin(upstream, framing) as caller:
            caller.sendall(b"3\r\none\r\n" if framing == CHUNKED else b"one")
            upstream.wait_for(3)
        assert upstream.ended.wait(PATIENCE)
        assert not upstream.got.endswith(b"0\r\n\r\n")  # what is half must not look whole
    assert site.outcome() == "left"


def test_a_caller_that_stops_halfway_is_told_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_rate, "MIN_RATE_WINDOW", 0.2)
    with Upstream() as upstream, site.begin(upstream, CHUNKED) as caller:
        caller.sendall(b"3\r\none\r\n")
        status, got = read(caller)
        assert (status, b"comes too slowly" in got) == (408, True)
        assert upstream.ended.wait(PATIENCE)
        assert not upstream.got.endswith(b"0\r\n\r\n")
    assert site.outcome() == "too slow"


def test_a_body_with_broken_framing_never_looks_whole(site: Site) -> None:
    with Upstream() as upstream, site.begin(upstream, CHUNKED) as caller:
        caller.sendall(b"3\r\none\r\n")
        upstream.wait_for(3)
        caller.sendall(b"zz\r\n")
        assert read(caller)[0] == 400
        assert upstream.ended.wait(PATIENCE)
        assert not upstream.got.endswith(b"0\r\n\r\n")
    assert site.outcome() == "bad request"


def test_an_upstream_that_closes_halfway_is_a_502(site: Site) -> None:
    with Upstream(most=3, reply=b"") as upstream, site.begin(upstream, b"Content-Length: 1000000") as caller:
        caller.sendall(b"one")
        assert upstream.ended.wait(PATIENCE)
        caller.sendall(PIECE)
        assert read(caller)[0] == 502
    assert site.outcome().startswith("upstream ")


def test_an_upstream_that_takes_nothing_is_a_504(site: Site) -> None:
    with Upstream(most=1) as upstream, site.begin(upstream, b"Content-Length: 1000000000", timeout=0.5) as caller:
        caller.settimeout(0.2)
        fill(caller)
        caller.settimeout(PATIENCE)
        assert read(caller)[0] == 504
    assert site.outcome() == "upstream timeout"


def test_a_slow_caller_is_not_the_upstreams_fault(site: Site) -> None:
    with Upstream() as upstream, site.begin(upstream, b"Content-Length: 4", timeout=0.3) as caller:
        for _ in range(4):
            time.sleep(0.2)
            caller.sendall(b"x")
        assert read(caller)[0] == 200


@pytest.mark.parametrize("size", [10, 3 << 20], ids=["in memory", "in a file"])
def test_a_keyed_body_is_sent_whole_once_and_compared(site: Site, size: int) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    with Upstream() as upstream:
        for sent, status in ((body, 200), (body, 200), (body[:-1] + b"!", 422)):
            with site.begin(upstream, b"Idempotency-Key: k", CHUNKED, b"Connection: close") as caller:
                caller.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (size, sent))
                assert read(caller)[0] == status
        assert len(upstream.heads) == 1
        assert b"Content-Length: %d" % size in upstream.heads[0]
        assert hashlib.sha256(upstream.got).digest() == hashlib.sha256(body).digest()
