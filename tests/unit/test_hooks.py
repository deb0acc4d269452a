"""What a plugin is written against: the slots, what a client tells of itself, and a hook that pluggy knows."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from oo import hooks
from oo.hooks import ClientInfo, Slot, hookimpl

INFO = ClientInfo(base_url="http://localhost:3001", blocking=True, retries=2)


def manager() -> pluggy.PluginManager:
    made = pluggy.PluginManager("oo")
    made.add_hookspecs(hooks)
    return made


def test_the_slots_are_these_outermost_first() -> None:
    assert [slot.name for slot in Slot] == ["CALL", "FETCH", "ATTEMPT", "WIRE"]


def test_a_plugin_is_told_no_token_and_can_change_nothing() -> None:
    assert not {field.name for field in dataclasses.fields(ClientInfo)} & {"token", "tokens", "headers"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        INFO.retries = 9  # type: ignore[misc]  # that is the point


def test_a_marked_function_is_called_with_what_is_being_built() -> None:
    async def layer(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    told: list[ClientInfo] = []

    @hookimpl
    def oo_middleware(client: ClientInfo) -> list[tuple[Slot, Any]]:
        told.append(client)
        return [(Slot.CALL, layer)]

    made = manager()
    made.register(SimpleNamespace(oo_middleware=oo_middleware))
    assert made.hook.oo_middleware(client=INFO) == [[(Slot.CALL, layer)]]
    assert told == [INFO]


def test_a_plugin_may_add_kinds_of_credentials() -> None:
    @hookimpl
    def oo_credentials() -> list[type]:
        return [dict]

    made = manager()
    made.register(SimpleNamespace(oo_credentials=oo_credentials))
    assert made.hook.oo_credentials() == [[dict]]


def test_a_function_that_is_not_marked_is_no_plugins_hook() -> None:
    made = manager()
    made.register(SimpleNamespace(oo_middleware=lambda client: [client]))
    assert made.hook.oo_middleware(client=INFO) == []


def test_a_hook_that_asks_for_what_there_is_not_is_refused() -> None:
    @hookimpl
    def oo_middleware(client: ClientInfo, token: str) -> list[Any]:
        return []

    with pytest.raises(pluggy.PluginValidationError, match="token"):
        manager().register(SimpleNamespace(oo_middleware=oo_middleware))
