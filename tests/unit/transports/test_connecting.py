"""From a host's name to a socket: addresses in turn, raced, in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from oo.transports import connecting
from oo.transports.connecting import _interleaved, connect, resolve
from tests.support.faults import nobody, serving, unaccepting


def address(url: str) -> tuple[object, ...]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, int(port)))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_families_take_turns() -> None:
    four, six = [(socket.AF_INET, n) for n in range(3)], [(socket.AF_INET6, n) for n in range(2)]
    assert _interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], four[2]]


@pytest.mark.parametrize("order", ["G", "RG", "HG", "HRG", "RRHG", "HHHG", "GH", "GR"])
def test_the_first_that_answers_wins(order: str, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    server = stack.enter_context(serving())
    urls = {"G": server.url, "R": stack.enter_context(nobody()), "H": stack.enter_context(unaccepting())}
    if order != "HHHG":  # one takes the pause as it is
        monkeypatch.setattr(connecting, "ATTEMPT_DELAY", 0.02)
    until = time.monotonic() + 20
    with connect([address(urls[each]) for each in order], lambda: until - time.monotonic()) as sock:
        assert sock.getpeername()[1] == server.port
        assert 0 < (sock.gettimeout() or 0) <= 20


@pytest.mark.parametrize("order", ["R", "RR", "RRR"])
def test_where_none_answers_the_last_failure_is_told(order: str, stack: ExitStack) -> None:
    dead = stack.enter_context(nobody())
    with pytest.raises(ConnectionRefusedError):
        connect([address(dead)] * len(order), lambda: 9.0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_time_bounds_all_of_them_together(count: int, stack: ExitStack) -> None:
    hole = stack.enter_context(unaccepting())
    turns = iter([0.05] * 3)

    def left() -> float:
        for turn in turns:
            return turn
        raise TimeoutError

    with pytest.raises(TimeoutError):
        connect([address(hole)] * count, left)


def test_a_host_without_an_address_is_no_connection() -> None:
    with pytest.raises(OSError, match="no address"):
        connect([], lambda: 9.0)


def test_a_family_that_this_machine_lacks_is_passed_over(stack: ExitStack) -> None:
    server = stack.enter_context(serving())
    with connect([(999, socket.SOCK_STREAM, 0, "", ()), address(server.url)], lambda: 9.0) as sock:
        assert sock.getpeername()[1] == server.port


@pytest.mark.parametrize("local", [True, False])
def test_a_name_resolves(local: bool) -> None:
    assert resolve("127.0.0.1", 80, lambda: 9.0, local=local)[0][4] == ("127.0.0.1", 80)
    with pytest.raises(socket.gaierror):
        resolve("no such host", 80, lambda: 9.0, local=local)


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: over.wait(20))
    try:
        with pytest.raises(TimeoutError):
            resolve("gateway.example", 80, lambda: 0.02, local=False)
    finally:
        over.set()
