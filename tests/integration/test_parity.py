"""One table of scripted answers: both worlds give the same value, or the same error attribute by attribute."""

from __future__ import annotations

from typing import Any

import pytest

import oo
from oo.exceptions import DoubleOError
from oo.testing import MockTransport, Scripted
from tests.support.worlds import World

TOKEN = "a-token-for-parity"
URL = "http://localhost:3001"
ATTRIBUTES = ("status", "reason", "request_id", "retry_after", "attempts", "body", "retryable")

ANSWERS: dict[str, Scripted] = {
    "a secret": {"value": "v"},
    "an environment": {"secrets": {"NAME": "v"}},
    "an error in a 200": {"error": "no such thing"},
    "an error of the token in a 200": {"error": "bad token"},
    "empty": b"",
    "not JSON": b"{",
    "not an object": [1],
    "of a wrong type": {"value": 1, "secrets": [1]},
    "not UTF-8": b'{"value": "\xff"}',
    "HTML": b"<html></html>",
    "NaN": b'{"value": NaN}',
    **{str(status): status for status in (204, 301, 302, 307, 400, 401, 403, 404, 408, 422, 429, 500, 503)},
    "no connection": DoubleOError("gone", reason="connection", retryable=True),
    "a size": DoubleOError("large", reason="size"),
}
CALLS = {
    "secret": ("get_secret", (TOKEN,)),
    "env": ("get_env", (TOKEN,)),
    "proxy": ("proxy", ("v1/x", TOKEN)),
    "chat": ("chat_completion", (TOKEN, [])),
    "health": ("health", ()),
}


def outcome(name: str, call: str, answer: Scripted) -> Any:
    world = World(name)
    try:
        client = world.client(URL, transport=MockTransport(lambda _request: answer), plugins=False)
        method, arguments = CALLS[call]
        return getattr(client, method)(*arguments)
    except oo.DoubleOError as error:
        return (type(error), str(error), *(getattr(error, each) for each in ATTRIBUTES))
    finally:
        world.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_both_worlds_end_alike(call: str, answer: Scripted) -> None:
    assert outcome("blocking", call, answer) == outcome("asyncio", call, answer)


def test_the_table_holds_successes_and_each_error() -> None:
    ends = [outcome("blocking", call, answer) for call in CALLS for answer in ANSWERS.values()]
    assert "v" in ends
    assert {"NAME": "v"} in ends
    kinds = {end[0] for end in ends if isinstance(end, tuple)}
    assert not any(TOKEN in repr(end) for end in ends)
    assert kinds == {oo.SecretError, oo.EnvError, oo.ProxyError, oo.AuthenticationError}
