from __future__ import annotations

import asyncio
from typing import Any

from oo.gateway.store.outcomes import Line, told
from tests.support.disks import outcome


def values(outcomes: list[Any]) -> list[Any]:
    return [value for _, value, _ in outcomes]


async def test_who_comes_while_a_sync_is_made_waits_for_the_next() -> None:
    line = Line()
    assert not line.begin()
    line.add([outcome(1), outcome(2)])
    assert (line.is_busy, line.has_waited(0)) == (False, True)
    assert line.begin()
    line.add([outcome(3)])
    assert (line.is_busy, line.has_waited(0), line.has_waited(60)) == (True, True, False)
    assert values(line.end()) == [1, 2]
    assert (line.is_busy, line.has_waited(0)) == (False, True)
    assert line.begin()
    assert values(line.end()) == [3]
    assert (line.is_busy, line.has_waited(0)) == (False, False)


async def test_everybody_leaves_and_the_sync_goes_on() -> None:
    line = Line()
    line.add([outcome(1)])
    line.begin()
    line.add([outcome(2)])
    assert values(line.leave()) == [1, 2]
    assert (line.is_busy, line.has_waited(0)) == (True, True)
    assert line.end() == []
    line.add([outcome(3)])
    line.leave()
    line.add([])
    assert not line.has_waited(0)


async def test_each_is_told_on_its_own_loop_and_here_at_once() -> None:
    here, elsewhere = outcome(1), asyncio.new_event_loop()
    there = elsewhere.create_future()
    told([here, (there, 2, None)], asyncio.get_running_loop())
    assert (here[0].result(), there.done()) == (1, False)
    assert await asyncio.to_thread(elsewhere.run_until_complete, there) == 2
    elsewhere.close()
