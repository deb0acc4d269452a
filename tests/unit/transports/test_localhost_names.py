"""Names below `localhost`: this machine only where they resolve to it."""

from __future__ import annotations

import pytest

from oo.transports import localhost_names
from oo.transports.localhost_names import is_here
from tests.support.faults import answer, serving
from tests.support.names import named, resolving
from tests.support.probing import TOKEN
from tests.support.worlds import World


@pytest.fixture(autouse=True)
def _unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localhost_names, "_warned", set())


@pytest.mark.parametrize(
    ("addresses", "here"),
    [(["127.0.0.1"], True), (["::1", "127.0.0.2"], True), (["127.0.0.1", "10.0.0.1"], False), (["fd00::1"], False)],
)
def test_each_address_must_be_loopback(addresses: list[str], here: bool) -> None:
    assert is_here("gate.localhost", addresses, "https") is here
    if not here:
        with pytest.warns(UserWarning, match="not this machine"):
            is_here("gate.localhost", addresses, "http")
        is_here("gate.localhost", addresses, "http")  # once


def test_a_client_of_such_a_name_is_not_warned_of_where_it_is_here(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, {"gate.localhost": ["127.0.0.1"]})
    with serving(reply=lambda _request: answer()) as server:
        assert world.client(named(server.url, "gate.localhost")).get_secret(TOKEN) == "good"


def test_a_client_of_such_a_name_is_warned_of_where_it_is_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(reply=lambda _request: answer()) as server:
        # An address that is no loopback one, and yet answers.
        resolving(monkeypatch, {"gate.localhost": ["0.0.0.0"]})
        client = world.client(named(server.url, "gate.localhost"))
        with pytest.warns(UserWarning, match=r"gate\.localhost is not this machine"):
            assert client.get_secret(TOKEN) == "good"
