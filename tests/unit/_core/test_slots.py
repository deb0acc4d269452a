from __future__ import annotations

import oo
from oo._core.slots import Slot, compose


async def first(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request)


async def second(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request)


def test_a_slot_is_replaced_by_what_is_offered_for_it_in_order() -> None:
    chain = [Slot.CALL, first, Slot.FETCH]
    assert compose(chain, {Slot.FETCH: [second, first], Slot.WIRE: [second]}) == [first, second, first]
    assert compose(chain, {}) == [first]
    assert chain == [Slot.CALL, first, Slot.FETCH]


def test_plugins_and_chains_mean_the_same_slots() -> None:
    assert oo.Slot is Slot
