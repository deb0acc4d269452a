"""What a call takes for a token and a TTL, and what it refuses before any I/O."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oo
from tests.support.operations import CANARY, FETCHING, NOWHERE, PROXYING, TOKEN, URL, mocked, refused
from tests.support.worlds import World

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "oo.get_secret": lambda token: oo.get_secret(token, base_url=URL),
    "oo.get_env": lambda token: oo.get_env(token, base_url=URL),
    "oo.load_env": lambda token: oo.load_env(token, base_url=URL),
    "oo.export_env": lambda token: oo.export_env(token, NOWHERE, base_url=URL),
    "oo.proxy": lambda token: oo.proxy("v1/x", token, base_url=URL),
    "oo.chat": lambda token: oo.chat(token, [], base_url=URL),
    "oo.chat, streamed": lambda token: oo.chat(token, [], base_url=URL, stream=True),
    "oo.embed": lambda token: oo.embed(token, [], base_url=URL),
    "oo.image": lambda token: oo.image(token, "", base_url=URL),
}
NO_TOKENS: dict[str, Any] = {
    "empty": "",
    "None": None,
    "an int": 5501,
    "bytes": CANARY.encode(),
    "a list": [CANARY],
    "a blank": f"{CANARY} x",
    "a blank before": f" {CANARY}",
    "a blank behind": f"{CANARY} ",
    "a tab": f"{CANARY}\tx",
    "a CR": f"{CANARY}\rx",
    "a LF at its end": f"{CANARY}\n",
    "a header of its own": f"{CANARY}\r\nX-Evil: 1",
    "a NUL": f"{CANARY}\0",
    "a DEL": f"{CANARY}\x7f",
    "Latin-1": f"{CANARY}\xe9",
    "a no-break space": f"{CANARY}\xa0",
    "non-ASCII": f"{CANARY}\u20ac",
    "half a character": f"{CANARY}\ud800",
}


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_refused_before_any_io_and_not_repeated(world: World, token: Any) -> None:
    client, transport = mocked(world)
    for call in [*FETCHING.values(), *PROXYING.values()]:
        refused(lambda call=call: call(client, token), oo.AuthenticationError, "token")
    for call in FETCHING.values():
        refused(lambda call=call: call(client, token, cache_ttl=60), oo.AuthenticationError, "token")
    assert transport.requests == []
    assert not Path(NOWHERE).exists()


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_a_function_refuses_what_is_no_token(token: Any) -> None:
    for call in FUNCTIONS.values():
        refused(lambda call=call: call(token), oo.AuthenticationError, "token")


@pytest.mark.parametrize("token", ["x", "!", "oo_" + "A" * 5000, "".join(map(chr, range(0x21, 0x7F)))])
def test_a_token_of_visible_ascii_is_sent_as_it_is(world: World, token: str) -> None:
    client, transport = mocked(world, {"value": "v"})
    assert client.get_secret(token) == "v"
    assert transport.requests[0].headers["Authorization"] == f"Bearer {token}"


KINDS = {"secret": oo.SecretError, "env": oo.EnvError, "load_env": oo.EnvError, "export_env": oo.EnvError}


@pytest.mark.parametrize(
    "ttl",
    [-1, -0.001, float("-inf"), float("nan"), True, "5501", b"1", [], {}, 1j, decimal.Decimal(1), 10**400],
    ids=lambda ttl: str(ttl)[:9],
)
def test_what_is_no_cache_ttl_is_refused_before_any_io(world: World, ttl: Any) -> None:
    client, transport = mocked(world)
    for name, call in FETCHING.items():
        error = refused(lambda call=call: call(client, cache_ttl=ttl), KINDS[name], "argument")
        assert "cache_ttl" in str(error)
    assert transport.requests == []


@pytest.mark.parametrize("ttl", [None, 0, 0.0, 0.5, 60, 1e308, 10**200, float("inf")], ids=lambda ttl: str(ttl)[:9])
def test_any_number_of_seconds_is_a_cache_ttl(world: World, ttl: Any) -> None:
    client, transport = mocked(world, *[{"value": "v"}] * 2, cache=oo.SecretCache())
    assert [client.get_secret(TOKEN, ttl), client.get_secret(TOKEN, cache_ttl=ttl)] == ["v", "v"]
    assert len(transport.requests) == (1 if ttl else 2)
