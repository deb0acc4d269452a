"""An exchange: what is left of its time, when it is sent again, and a socket that keeps to it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from oo._client.operations import ClientContext
from oo._http.request import Request
from oo.transports._urllib3_patches import Exchange, TimedSocket, _TimedHTTP, thread


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def within(seconds: float) -> Exchange:
    return Exchange(time.monotonic() + seconds)


def test_what_came_early_is_read_first(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"cd")
    theirs.shutdown(socket.SHUT_WR)
    exchange = within(9)
    with TimedSocket(ours, exchange, b"ab").makefile("rb") as file:
        assert file.read() == b"abcd"
    assert exchange.answered


def test_the_end_is_no_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    exchange = within(9)
    with TimedSocket(ours, exchange).makefile("rb") as file:
        assert file.read() == b""
    assert not exchange.answered


def test_nothing_is_read_when_time_is_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x")
    with TimedSocket(ours, within(0)).makefile("rb") as file, pytest.raises(TimeoutError):
        file.read(1)


@pytest.mark.parametrize("early", [b"HTTP/1.1 413 ", b""])
def test_an_answer_while_it_is_sent_is_noted(pair: tuple[socket.socket, socket.socket], early: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(early)
    theirs.shutdown(socket.SHUT_WR)
    thread.exchange = exchange = within(9)
    connection = _TimedHTTP("h")
    connection.sock = ours
    with pytest.raises(BrokenPipeError):
        connection.send(bytes(8 << 20))
    connection.sock = None
    assert exchange.answered is bool(early)


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_a_kept_connection_without_an_answer_is_renewed_once(reused: bool, answered: bool) -> None:
    exchange, sent = Exchange(1e9), Request(
        "GET", "http://h/", context=ClientContext("proxy", lambda response: response)
    )
    exchange.reused, exchange.answered = reused, answered
    assert exchange.renew(sent, time.monotonic()) is (reused and not answered)
    exchange.reused = True
    assert not (exchange.renew(sent, time.monotonic()) and reused and not answered)


def test_the_timeline_tells_of_it() -> None:
    exchange, sent = Exchange(1e9), Request(
        "GET", "http://h/", context=ClientContext("proxy", lambda response: response)
    )
    sent.context.timeline.append(("attempt", 2.0))
    exchange.reused = True
    assert exchange.renew(sent, time.monotonic() - 1)
    what, seconds = sent.context.timeline[-1]
    assert (what, 3 <= seconds < 13) == ("resent", True)


def test_time_that_is_up_is_an_error() -> None:
    assert 0 < Exchange(time.monotonic() + 9).left() <= 9
    with pytest.raises(TimeoutError):
        Exchange(time.monotonic()).left()
