"""What may be sent twice, and what ends the sending."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from oo._client.operations import ClientContext
from oo._http.body import Body
from oo._http.headers import Headers
from oo._http.request import Request
from oo.transports.exchange import is_repeatable, send_until_answered

LARGE = bytes(8 << 20)


def request(method: str = "GET", body: Any = None, **headers: str) -> Request:
    fields = Headers([(name.replace("_", "-"), value) for name, value in headers.items()])
    return Request(method, "http://h/", fields, body, context=ClientContext("proxy", lambda response: response))


def flowing(replayable: bool, begun: bool) -> Body:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    body = Body(pieces if replayable else pieces())
    body.begun = begun
    return body


@pytest.mark.parametrize(
    ("of", "repeatable"),
    [
        (request("GET"), True),
        (request("HEAD"), True),
        (request("OPTIONS"), True),
        (request("PUT"), False),
        (request("DELETE"), False),
        (request("POST", b"x"), False),
        (request("POST", b"x", Idempotency_Key="k"), True),
        (request("POST", b"x", idempotency_key="k"), True),
        (request("GET", flowing(False, True)), False),
        (request("GET", flowing(False, False)), True),
        (request("GET", flowing(True, True)), True),
    ],
)
def test_what_may_be_sent_twice(of: Request, repeatable: bool) -> None:
    assert is_repeatable(of) is repeatable


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def within(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def test_everything_is_sent_to_a_server_that_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    read = bytearray()

    def drain() -> None:
        while len(read) < len(LARGE):
            read.extend(theirs.recv(1 << 20))

    thread = threading.Thread(target=drain)
    thread.start()
    assert send_until_answered(ours, LARGE, within(20)) is None
    thread.join(20)
    assert bytes(read) == LARGE
    assert 0 < (ours.gettimeout() or 0) <= 20


def test_an_answer_ends_the_sending(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 413 ")
    assert send_until_answered(ours, LARGE, within(9)) == b"HTTP/1.1 413 "


def test_the_end_of_the_connection_ends_the_sending(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    assert send_until_answered(ours, LARGE, within(9)) == b""


def test_a_server_that_reads_nothing_holds_no_longer_than_the_exchange(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    with pytest.raises(TimeoutError):
        send_until_answered(ours, LARGE, within(0.05))
