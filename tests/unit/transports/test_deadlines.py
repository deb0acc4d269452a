"""One timer tells what takes too long, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oo.transports.deadlines import Deadlines


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is set, and whose timers are called at once where they are due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(when, callback, args, self, context))
        return self.timers[-1]

    def due(self) -> list[float]:
        """When the timers are due that were not cancelled."""
        return [each.when() for each in self.timers if not each.cancelled()]

    def pass_to(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        for each in list(self.timers):
            if not each.cancelled() and each.when() <= now:
                self.timers.remove(each)
                each._run()


@pytest.fixture
def clock() -> Any:
    """A loop that stands still."""
    loop = Clock()
    yield loop
    loop.close()


def test_each_is_told_at_its_end_unless_it_was_removed(clock: Clock) -> None:
    told: list[str] = []
    calls = {name: lambda name=name: told.append(name) for name in "abcd"}
    deadlines = Deadlines(clock)
    for name, end in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 2.0)):
        deadlines.add(calls[name], end)
    deadlines.remove(calls["c"])
    deadlines.remove(calls["c"])
    for now, so_far in ((0.9, ""), (1.0, "b"), (2.5, "bd"), (9.0, "bda")):
        clock.pass_to(now)
        assert "".join(told) == so_far
    assert clock.due() == []


def test_one_timer_serves_all(clock: Clock) -> None:
    deadlines = Deadlines(clock)
    calls = [lambda: None for _ in range(50)]
    for at, call in enumerate(calls):
        deadlines.add(call, 30.0 + at)
        deadlines.remove(call)
    assert clock.due() == [30.0]
    assert len(clock.timers) == 1
    clock.pass_to(30.0)
    assert clock.due() == []


def test_an_earlier_end_is_not_waited_for_in_vain(clock: Clock) -> None:
    deadlines, told = Deadlines(clock), list[int]()
    deadlines.add(lambda: told.append(30), 30.0)
    deadlines.add(lambda: told.append(1), 1.0)
    assert clock.due() == [1.0]
    clock.pass_to(1.0)
    assert (told, clock.due()) == ([1], [30.0])


def test_what_is_told_may_remove_another(clock: Clock) -> None:
    deadlines, told = Deadlines(clock), list[str]()

    def other() -> None:
        told.append("other")

    def late() -> None:
        told.append("late")
        deadlines.remove(other)

    deadlines.add(late, 1.0)
    deadlines.add(other, 1.0)
    clock.pass_to(1.0)
    assert told == ["late"]
