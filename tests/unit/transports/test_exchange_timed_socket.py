"""A socket that keeps to an instant, and notices an answer while it sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from oo.transports.exchange import Exchange, TimedSocket, send_until_answered

LARGE = bytes(8 << 20)


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
    exchange = within(9)
    assert send_until_answered(ours, LARGE, exchange) == b"HTTP/1.1 413 "
    assert exchange.answered


def test_the_end_of_the_connection_ends_the_sending(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    exchange = within(9)
    assert send_until_answered(ours, LARGE, exchange) == b""
    assert not exchange.answered


def test_a_server_that_reads_nothing_holds_no_longer_than_the_exchange(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    with pytest.raises(TimeoutError):
        send_until_answered(ours, LARGE, within(0.05))
