from __future__ import annotations

import pytest

from oo.gateway.capacity import Busy, Capacity, Place
from oo.gateway.errors import GatewayError
from oo.gateway.models import Route


def taken(capacity: Capacity, count: int, token: str = "a", concurrency: int | None = None) -> list[Place]:
    return [capacity.take(token, concurrency) for _ in range(count)]


@pytest.mark.parametrize(
    ("calls", "concurrency", "most"),
    [(8, None, 6), (416, None, 312), (1, None, 1), (8, 2, 2), (8, 6, 6), (8, 100, 6)],
    ids=["of few", "of many", "of one", "less", "as many", "more than there is"],
)
def test_a_token_has_its_share_or_what_its_terms_say(calls: int, concurrency: int | None, most: int) -> None:
    capacity = Capacity(calls)
    places = taken(capacity, most, "a", concurrency)
    with pytest.raises(Busy, match=f"has {most} calls under way") as caught:
        capacity.take("a", concurrency)
    assert (caught.value.status, caught.value.outcome, caught.value.headers) == (429, "too busy", {"Retry-After": "1"})
    places[0].release()
    capacity.take("a", concurrency)


def test_where_the_process_is_full_nobody_gets_in() -> None:
    capacity = Capacity(4)
    places = [*taken(capacity, 3, "a"), *taken(capacity, 1, "b")]
    with pytest.raises(Busy, match="the gateway has as many calls") as caught:
        capacity.take("c")
    assert caught.value.status == 503
    for place in places:
        place.release()
    assert (capacity.calls, capacity.size, capacity._tokens) == (0, 0, {})


def test_it_tells_what_is_under_way_by_route_and_token() -> None:
    capacity, route = Capacity(8), Route("r", "https://api.test")
    places = [capacity.take("a", None, route), capacity.take("a", None, route), capacity.take("b")]
    assert capacity.under_way() == [("r", "a", 2), ("", "b", 1)]
    for place in places:
        place.release()
    assert capacity.under_way() == []


def test_a_place_is_held_until_the_last_of_its_work_ends() -> None:
    capacity, freed = Capacity(4), list[str]()
    place = capacity.take("a")
    place.on_free(lambda: freed.append("freed"))
    place.keep(7)
    place.hold()
    place.release("complete")
    assert (capacity.calls, capacity.size, freed) == (1, 7, [])
    place.release()
    assert (capacity.calls, capacity.size, freed) == (0, 0, ["freed"])


@pytest.mark.parametrize(
    ("kept", "size", "status"),
    [
        ([], 75, None),
        ([], 76, 413),
        ([("own", 70)], 6, 413),
        ([("a", 70)], 5, None),
        ([("a", 70)], 6, 429),
        ([("b", 70)], 30, None),
        ([("b", 70)], 31, 503),
    ],
)
def test_bytes_have_their_bounds(kept: list[tuple[str, int]], size: int, status: int | None) -> None:
    capacity = Capacity(10, 100)
    place = capacity.take("a")
    for token, before in kept:
        (place if token == "own" else capacity.take(token)).keep(before)
    held = capacity.size
    if status is None:
        place.keep(size)
        assert capacity.size == held + size
        place.give_back(size)
    else:
        with pytest.raises(GatewayError) as caught:
            place.keep(size)
        assert caught.value.status == status
        assert isinstance(caught.value, Busy) is (status != 413)
    assert capacity.size == held


def test_what_can_never_be_kept_is_known_before_it_comes() -> None:
    place = Capacity(10, 100).take("a")
    place.check(75)
    place.keep(1)
    with pytest.raises(GatewayError, match="a body that has to be kept may have 75 bytes"):
        place.check(75)
