from __future__ import annotations

import asyncio
import itertools
import socket

import pytest

from oo.gateway import freshness
from oo.gateway.freshness import ReadCache, SharedReads


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is asked for at each read, however quick they follow."""
    monkeypatch.setattr(freshness, "_FRESH", -1.0)


def test_a_value_is_kept_until_the_version_changes() -> None:
    versions, count = iter([1, 1, 2, 2]), itertools.count()
    cache = ReadCache(lambda: next(versions))
    assert [cache.get("key", lambda: next(count)) for _ in range(4)] == [0, 0, 1, 1]


def test_every_key_is_forgotten_when_the_version_changes() -> None:
    versions, count = iter([1, 1, 2, 2]), itertools.count()
    cache = ReadCache(lambda: next(versions))
    assert [cache.get(key, lambda: next(count)) for key in ("a", "b", "b", "a")] == [0, 1, 2, 3]


def test_a_missing_thing_is_not_kept() -> None:
    found = iter([None, None, "there", "not read"])
    cache = ReadCache(lambda: 1)
    assert [cache.get("key", lambda: next(found)) for _ in range(4)] == [None, None, "there", "there"]
    assert next(found) == "not read"


def test_a_failed_read_is_not_kept() -> None:
    def fails() -> str:
        raise ZeroDivisionError

    cache = ReadCache(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", fails)
    assert cache.get("key", lambda: "read") == "read"


def test_nothing_that_is_kept_is_given_while_the_version_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def version() -> int:
        if broken:
            raise ZeroDivisionError
        return 1

    broken = False
    cache = ReadCache(version)
    assert cache.get("key", lambda: "read") == "read"
    monkeypatch.setattr(freshness, "_FRESH", 3600.0)
    cache.expire()
    broken = True
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get("key", lambda: "again")
    broken = False
    assert cache.get("key", lambda: "again") == "read"


def test_the_version_is_asked_again_after_a_while_or_once_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_FRESH", 3600.0)
    asked = itertools.count()
    cache = ReadCache(lambda: next(asked))
    count = itertools.count()
    assert [cache.get("key", lambda: next(count)) for _ in range(3)] == [0, 0, 0]
    cache.expire()
    assert [cache.get("key", lambda: next(count)) for _ in range(3)] == [1, 1, 1]
    assert next(asked) == 2


async def test_those_who_ask_in_one_turn_of_the_loop_share_a_read_and_who_comes_later_has_another() -> None:
    count, shared = itertools.count(), SharedReads()

    async def ask(key: str) -> int:
        return shared.get(key, lambda: next(count))

    assert await asyncio.gather(*(ask(key) for key in "aaba")) == [0, 0, 1, 0]
    assert await asyncio.gather(*(ask(key) for key in "ba")) == [2, 3]


async def test_what_comes_while_a_turn_is_handled_is_answered_by_a_read_of_its_own() -> None:
    count, shared = itertools.count(), SharedReads()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        came = loop.create_future()
        loop.add_reader(ours, lambda: came.done() or came.set_result(None))
        first = shared.get("key", lambda: next(count))
        theirs.send(b"a request")  # within the turn, after the read
        again = shared.get("key", lambda: next(count))
        await came
        later = shared.get("key", lambda: next(count))
        loop.remove_reader(ours)
    assert (first, again, later) == (0, 0, 1)


async def test_a_failed_read_is_not_shared() -> None:
    def fails() -> str:
        raise ZeroDivisionError

    shared = SharedReads()
    with pytest.raises(ZeroDivisionError):
        shared.get("key", fails)
    assert shared.get("key", lambda: "read") == "read"


def test_two_loops_share_no_read() -> None:
    count, shared = itertools.count(), SharedReads()

    async def ask() -> tuple[int, int]:
        mine = shared.get("key", lambda: next(count))
        other = await asyncio.to_thread(asyncio.run, ask()) if mine == 0 else (mine, mine)
        return mine, other[0]

    assert asyncio.run(ask()) == (0, 1)
