"""SecretCache, entered again by its own thread: a signal's handler or the garbage collector comes in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

import cachetools
import pytest

import oo
from oo._core.io import BlockingIO
from oo.middleware import secret_cache as _store
from oo.middleware.secret_cache import Flight
from tests.support.waiting import PATIENCE

FILES = (_store.__file__, os.path.dirname(cachetools.__file__))
KEY = ("secret", "http://localhost:3001", "a-token")
OTHER = ("secret", "http://localhost:3001", "another-token")


class Scene:
    """A store that is full, one of whose answers has expired, with two fetches under way. `gone` is what was forgotten,
    and may not come back with what those fetch."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store = oo.SecretCache(3, timer=lambda: self.now)
        self.flights = {key: self.fetch(key) for key in (KEY, OTHER)}
        self.store.set("expired", "v", 1)
        self.store.set(("env", *KEY[1:]), "v", 100)
        self.store.set("young", "v", 100)
        self.now = 2.0
        self.gone: set[Any] = set()

    def fetch(self, key: Any) -> Flight:
        flight = Flight(0, key, BlockingIO().event())
        assert self.store.join(flight, 60) is flight
        return flight

    def join(self) -> None:
        self.store.join(Flight(1, KEY, BlockingIO().event()), 60)

    def hit(self) -> None:
        assert self.store.get("young") in (None, "v")

    def store_it(self) -> None:
        for key in ("new", "newer"):  # one of which takes the place of another
            self.store.set(key, "v", 60)

    def complete(self) -> None:
        self.store.complete(self.flights[KEY], "fetched", 60)

    def fall(self) -> None:
        self.store.complete(self.flights[OTHER], None)

    def count(self) -> None:
        assert 0 <= len(self.store) <= 3

    def invalidate(self) -> None:
        self.store.invalidate(KEY[2])
        self.gone |= {KEY, ("env", *KEY[1:])}

    def clear(self) -> None:
        self.store.clear()
        self.gone |= {KEY, OTHER, "young", "expired", ("env", *KEY[1:])}

    def check(self) -> None:
        assert [key for key in self.gone if self.store.get(key) is not None] == []
        for key, flight in self.flights.items():
            self.store.complete(flight, "late", 60)
            assert flight.event._event.is_set()  # type: ignore[attr-defined]  # the blocking one
            assert key not in self.gone or self.store.get(key) is None
        # Each flight is over, and the next one is stored.
        for key in self.flights:
            flight = Flight(0, key, BlockingIO().event())
            if self.store.join(flight, 60) is flight:
                self.store.complete(flight, "next", 60)
            assert self.store.get(key) in ("fetched", "late", "next")
            self.store.invalidate(key[2])
            assert self.store.get(key) is None
        # And its parts fit together: it fills, evicts the oldest, expires and is empty.
        for number in range(5):
            self.store.set(number, number, 10 + number)
        assert [self.store.get(number) for number in range(5)] == [None, None, 2, 3, 4]
        assert len(self.store) == 3
        self.now += 13
        assert [self.store.stale(number) for number in (2, 3, 4)] == [None, None, 4]
        assert len(self.store) == 1
        self.store.invalidate(4)
        assert len(self.store) == 0


STEPS = {
    "join": Scene.join,
    "hit": Scene.hit,
    "set": Scene.store_it,
    "complete": Scene.complete,
    "complete with nothing": Scene.fall,
    "count": Scene.count,
    "invalidate": Scene.invalidate,
    "clear": Scene.clear,
}


def interrupted(scene: Scene, outer: str, inner: str, at: int) -> bool:
    """Take the step `outer`, and `inner` before its bytecode number `at`; whether it came that far."""
    left = at

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(FILES):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                STEPS[inner](scene)
        return trace if left > 0 else None

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 asks when a trace is set whether any frame wants bytecodes
    sys.settrace(trace)
    try:
        STEPS[outer](scene)
    finally:
        sys.settrace(before)
    return left <= 0


@pytest.mark.parametrize("inner", STEPS)
@pytest.mark.parametrize("outer", STEPS)
def test_a_thread_that_comes_in_again_at_any_bytecode_finds_and_leaves_the_store_whole(outer: str, inner: str) -> None:
    reached: list[int] = []

    def every() -> None:
        came, at = True, 0
        while came:
            at += 1
            scene = Scene()
            came = interrupted(scene, outer, inner, at)
            scene.check()
            reached.append(at)

    # On a thread of its own, which may wait for itself.
    thread = threading.Thread(target=every, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert reached[-1] > 30


WITHIN = """if True:
    import asyncio, gc, signal, sys
    import oo
    from oo.testing import MockTransport

    class Hanging:
        async def send(self, request):
            await asyncio.get_running_loop().create_future()

        async def close(self):
            pass

    def abort():
        loop = asyncio.new_event_loop()
        client = oo.AsyncClient(middleware=[oo.Cache(store)], transport=Hanging())
        task = loop.create_task(client.get_secret("abandoned", cache_ttl=60))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        task._log_destroy_pending = False

    def come_in():
        # The store asks for the time while it holds its lock.
        came.append(1)
        if sys.argv[1] == "a signal":
            signal.raise_signal(signal.SIGTERM)
        else:
            gc.collect()
        return 0.0

    gc.disable()
    came = []
    now = lambda: 0.0
    store = oo.SecretCache(timer=lambda: now())
    client = oo.Client(middleware=[oo.Cache(store)], transport=MockTransport(lambda _request: {"value": "v"}))
    signal.signal(signal.SIGTERM, lambda *_: client.invalidate_cache())
    abort()
    assert len(store._flights) == 1
    now = come_in
    assert client.get_secret("token", cache_ttl=60) == "v"
    print(len(came) > 1, len(store._flights))
"""


@pytest.mark.parametrize("what", ["a signal", "the garbage collector"])
def test_what_comes_in_while_the_store_is_locked_does_not_wait_for_it(what: str) -> None:
    command = [sys.executable, "-c", WITHIN, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("True 0\n", "")
