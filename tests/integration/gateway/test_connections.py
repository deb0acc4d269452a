"""A caller that is slow, or one too many, under limits of a fraction of a second; the others go on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest

import oo.testing
import tests.support.faults
from tests.support.faults import READ, Endless, head, serving
from tests.support.processes import get

pytestmark = pytest.mark.campaign

LIMIT = 0.2
ASK = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def connected(url: str, sent: bytes = b"") -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
        sock.settimeout(5)
        sock.connect((address.hostname, address.port))
        sock.sendall(sent)
        yield sock


def read(sock: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    found = b""
    try:
        while piece := sock.recv(1 << 20):
            found += piece
    except ConnectionResetError:
        pass
    return found


def answer(sock: socket.socket) -> bytes:
    """The one answer to ASK."""
    found = b""
    while not found.endswith(b'{"status": "ok"}'):
        found += sock.recv(4096) or pytest.fail("it was cut off")
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for; what it does not look at stays far off."""
    for name in ("server.HEADER_TIMEOUT", "server.KEEPALIVE_TIMEOUT", "data_rate.MIN_RATE_WINDOW"):
        monkeypatch.setattr(f"oo.gateway.http_server.{name}", 30.0)


@pytest.mark.parametrize(
    ("limit", "begin", "drip"),
    [
        ("HEADER_TIMEOUT", b"", b""),
        ("HEADER_TIMEOUT", ASK[:20], b""),
        ("HEADER_TIMEOUT", ASK[:-4] + b"\r\nX-Long: ", b"x"),
        ("KEEPALIVE_TIMEOUT", ASK, b""),
        ("KEEPALIVE_TIMEOUT", ASK + ASK[:20], b""),
    ],
    ids=["silent", "half a head", "a dripping head", "idle", "half a second head at once"],
)
def test_a_caller_without_a_request_is_cut_off(
    quick: None, monkeypatch: pytest.MonkeyPatch, limit: str, begin: bytes, drip: bytes
) -> None:
    monkeypatch.setattr(f"oo.gateway.http_server.server.{limit}", LIMIT)
    with oo.testing.gateway() as gateway, connected(gateway.url, begin) as sock:
        began = time.monotonic()
        sock.settimeout(0.02)
        while time.monotonic() - began < 5:
            try:
                if not sock.recv(4096):
                    break
            except TimeoutError:
                sock.send(drip)
            except ConnectionResetError:
                break
        assert LIMIT * 0.9 < time.monotonic() - began < 4


def test_a_head_that_begins_on_a_kept_connection_has_its_own_limit(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.http_server.server.HEADER_TIMEOUT", LIMIT)
    with oo.testing.gateway() as gateway, connected(gateway.url, ASK) as sock:
        answer(sock)
        time.sleep(LIMIT * 2)
        # It was not counted from the last answer on, nor is it when the head is whole.
        for part in (ASK[:10], ASK[10:]):
            sock.sendall(part)
            time.sleep(LIMIT / 3)
        answer(sock)
        time.sleep(LIMIT * 2)
        sock.sendall(ASK[:10])
        assert read(sock) == b""


def body(token: str, length: int) -> bytes:
    fields = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}"
    return f"POST /api/proxy/x HTTP/1.1\r\n{fields}\r\n\r\n".encode()


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["stalls", "drips"])
def test_a_body_that_comes_too_slowly_is_a_408(quick: None, monkeypatch: pytest.MonkeyPatch, drip: bytes) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    with oo.testing.gateway() as gateway, serving() as upstream:
        token = gateway.route("r", upstream.url)
        with connected(gateway.url, body(token, 99999) + b"x" * 1000) as sock:
            began, found = time.monotonic(), b""
            sock.settimeout(0.02)
            while time.monotonic() - began < 5 and b"too slowly" not in found:
                try:
                    found += sock.recv(4096)
                except TimeoutError:
                    sock.send(drip)
            sock.settimeout(5)
            assert read(sock) == b""
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nConnection: close\r\n" in found
        assert upstream.requests == []


CHUNKED = b"POST /api/proxy/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (body("none", 5 << 20), b"x" * (5 << 20)),
        (CHUNKED, b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"),
        (CHUNKED, b"no chunk"),
    ],
    ids=["large", "in chunks", "broken"],
)
def test_what_a_refused_caller_goes_on_sending_is_taken_and_not_looked_at(
    quick: None, begin: bytes, rest: bytes
) -> None:
    with oo.testing.gateway() as gateway, connected(gateway.url, begin) as sock:
        found = sock.recv(4096)
        assert found.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in found
        sock.sendall(rest + ASK)
        assert b"HTTP/1.1" not in read(sock)


def test_a_refused_caller_who_has_not_read_yet_finds_its_answer(quick: None) -> None:
    size = 5 << 20
    with oo.testing.gateway() as gateway, connected(gateway.url, body("none", size) + b"x" * size) as sock:
        assert read(sock).startswith(b"HTTP/1.1 401 ")


def test_a_refusal_of_a_whole_request_keeps_the_connection(quick: None) -> None:
    for whole in (body("none", 3) + b"xxx", CHUNKED + b"3\r\nxxx\r\n0\r\n\r\n"):
        with oo.testing.gateway() as gateway, connected(gateway.url, whole) as sock:
            assert sock.recv(4096).startswith(b"HTTP/1.1 401 ")
            sock.sendall(ASK)
            answer(sock)


def test_a_body_that_keeps_the_pace_may_take_its_time(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_BYTES", 4)
    with oo.testing.gateway() as gateway, serving() as upstream:
        token = gateway.route("r", upstream.url)
        with connected(gateway.url, body(token, 60)) as sock:
            for _ in range(20):
                sock.sendall(b"xxx")
                time.sleep(LIMIT / 6)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert upstream.requests[0].endswith(b"x" * 60)


def test_a_reader_of_a_stream_that_does_not_read_is_cut_off(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with (
        serving([READ, head(b"Transfer-Encoding: chunked"), Endless(chunk)]) as upstream,
        oo.testing.gateway() as gateway,
    ):
        token = gateway.route("r", upstream.url)
        with connected(gateway.url, body(token, 0)):
            # The upstream is let go when there is nobody to read it.
            assert upstream.until(left=1)


def test_a_reader_that_asks_and_asks_and_reads_nothing_is_cut_off(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    with oo.testing.gateway() as gateway, connected(gateway.url) as sock:
        sock.settimeout(10)  # when the gateway takes no more either, and yet does not end it
        with pytest.raises(ConnectionError):
            sock.sendall(ASK * 1_000_000)


def test_the_last_of_an_answer_that_is_not_read_is_not_held_for_ever(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    with oo.testing.gateway() as gateway, ExitStack() as stack:
        socks = []
        for size in range(64 << 10, 480 << 10, 16 << 10):
            token = gateway.secret(f"s{size}", "x" * size)
            ask = f"GET /api/secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            socks.append((size, stack.enter_context(connected(gateway.url, ask.encode()))))
        time.sleep(LIMIT * 3)
        found = [(size, len(read(sock))) for size, sock in socks]
    # What the system has taken arrives; as soon as an answer is longer, the rest of it is gone.
    whole = [size for size, length in found if length > size]
    cut = [length for size, length in found if length <= size]
    assert whole
    assert max(whole) < min(cut) + (40 << 10)


def test_a_reader_that_keeps_the_pace_gets_all_of_it(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.http_server.data_rate.MIN_RATE_WINDOW", LIMIT)
    size = 10 << 20
    with serving(reply=lambda _: tests.support.faults.answer(b"x" * size)) as upstream, oo.testing.gateway() as gateway:
        token = gateway.route("r", upstream.url)
        assert get(gateway.url, token, "/api/proxy/x", "POST", **{"Idempotency-Key": "k"}).status == 200
        # What was kept goes out in one write, of which the system takes a part at a time.
        with connected(gateway.url, body(token, 0)[:-2] + b"Idempotency-Key: k\r\n\r\n") as sock:
            began, found = time.monotonic(), 0
            while time.monotonic() - began < LIMIT * 4:
                found += len(sock.recv(1 << 20) or pytest.fail("it was cut off"))
                time.sleep(LIMIT / 30)
            assert found < size // 2
            while found < size:
                found += len(sock.recv(1 << 20) or pytest.fail("it was cut off"))
        assert len(upstream.requests) == 1


@pytest.fixture
def full(quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[oo.testing.LocalGateway]:
    """A gateway with room for four, who have no time to speak."""
    monkeypatch.setattr("oo.gateway.http_server.server.MAX_CONNECTIONS", 4)
    monkeypatch.setattr("oo.gateway.http_server.server.SPEAK_WITHIN", 0.0)
    with oo.testing.gateway() as gateway:
        yield gateway


def test_a_flood_of_silent_connections_cuts_nobody_who_speaks_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oo.gateway.http_server.server.MAX_CONNECTIONS", 4)
    with oo.testing.gateway() as gateway, ExitStack() as stack:
        idle = stack.enter_context(connected(gateway.url, ASK))
        answer(idle)
        callers = [stack.enter_context(connected(gateway.url, ASK[:n])) for n in (0, 1, len(ASK) - 1)]
        began = time.monotonic()
        for _ in range(100):
            stack.enter_context(connected(gateway.url, b""))
        for sock, sent in zip(callers, (0, 1, len(ASK) - 1), strict=True):
            sock.sendall(ASK[sent:])
            answer(sock)
        idle.sendall(ASK)
        answer(idle)
        assert time.monotonic() - began < 5


def test_one_caller_too_many_takes_the_place_of_the_oldest_that_has_not_asked(full: oo.testing.LocalGateway) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(connected(full.url, ASK))
        answer(kept)
        silent = [stack.enter_context(connected(full.url, ASK[:n])) for n in range(10)]
        for sock in silent[:7]:
            assert read(sock) == b""
        for number, sock in enumerate(silent[7:], 7):
            sock.sendall(ASK[number:])
            answer(sock)
        kept.sendall(ASK)
        answer(kept)


def test_one_caller_too_many_takes_the_place_of_the_one_that_asked_the_longest_ago(
    full: oo.testing.LocalGateway,
) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(connected(full.url, ASK)) for _ in range(4)]
        for sock in (*kept, kept[0]):
            answer(sock)
            if sock is kept[3]:
                kept[0].sendall(ASK)
        for leaves in (kept[1], kept[2]):
            newcomer = stack.enter_context(connected(full.url, ASK))
            answer(newcomer)
            assert read(leaves) == b""
        for sock in (kept[0], kept[3]):
            sock.sendall(ASK)
            answer(sock)


def test_a_call_that_is_under_way_keeps_its_place(full: oo.testing.LocalGateway) -> None:
    with serving([READ, 0.5, head(b"Content-Length: 2"), b"ok"]) as upstream, ExitStack() as stack:
        token = full.route("r", upstream.url)
        busy = stack.enter_context(connected(full.url, body(token, 0)))
        assert upstream.until(requests=1)
        for _ in range(10):
            stack.enter_context(connected(full.url))
        # A caller who was refused before its body came is not under way.
        refused = stack.enter_context(connected(full.url, body("none", 99)))
        assert refused.recv(4096).startswith(b"HTTP/1.1 401 ")
        for _ in range(4):
            answer(stack.enter_context(connected(full.url, ASK)))
        assert read(refused) == b""
        assert busy.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_where_all_are_at_work_the_newcomer_is_cut_off(full: oo.testing.LocalGateway) -> None:
    with serving(*[[READ, 1.0, head(b"Content-Length: 2"), b"ok"]] * 4) as upstream, ExitStack() as stack:
        # One token may not have them all.
        tokens = [full.route("r", upstream.url), full.issue("route", "r")] * 2
        busy = [stack.enter_context(connected(full.url, body(token, 0))) for token in tokens]
        assert upstream.until(requests=4)
        assert read(stack.enter_context(connected(full.url))) == b""
        for sock in busy:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert get(full.url, None, "/health").status == 200


def test_an_end_leaves_a_place(full: oo.testing.LocalGateway) -> None:
    with connected(full.url, ASK) as kept:
        answer(kept)
        for _ in range(20):
            assert get(full.url, None, "/health").status == 200
        kept.sendall(ASK)
        answer(kept)
