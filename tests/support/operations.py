"""Every call of a client, by its name, to be made with a token, a payload or an answer that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from tests.support.probing import assert_ours
from tests.support.worlds import World

TOKEN = "a-token-for-operations"
CANARY = "canary-5501"
NOWHERE = "/nowhere/.env"
URL = "http://localhost:3001"

FETCHING: dict[str, Callable[..., Any]] = {
    "secret": lambda client, token=TOKEN, **more: client.get_secret(token, **more),
    "env": lambda client, token=TOKEN, **more: client.get_env(token, **more),
    "load_env": lambda client, token=TOKEN, **more: client.load_env(token, **more),
    "export_env": lambda client, token=TOKEN, **more: client.export_env(token, NOWHERE, **more),
}
PROXYING: dict[str, Callable[..., Any]] = {
    "proxy": lambda client, token=TOKEN, payload=None: client.proxy("v1/x", token, payload=payload),
    "send": lambda client, token=TOKEN, payload=None: client.send("v1/x", token, payload=payload),
    "stream": lambda client, token=TOKEN, payload=None: client.stream("v1/x", token, payload=payload),
    "chat": lambda client, token=TOKEN, payload=None: client.chat_completion(token, payload),
    "a streamed chat": lambda client, token=TOKEN, payload=None: client.chat_completion(token, payload, stream=True),
    "embed": lambda client, token=TOKEN, payload=None: client.embed(token, payload),
    "image": lambda client, token=TOKEN, payload=None: client.image(token, payload),
    "an extra argument": lambda client, token=TOKEN, payload=None: client.chat_completion(token, [], extra=payload),
}


def mocked(world: World, *answers: Any, **settings: Any) -> tuple[Any, MockTransport]:
    transport = MockTransport(answers)
    return world.client(URL, transport=transport, plugins=False, **settings), transport


def refused(call: Callable[[], Any], kind: type[oo.DoubleOError], reason: str) -> oo.DoubleOError:
    with pytest.raises(oo.DoubleOError) as caught:
        call()
    error = caught.value
    assert (type(error), error.reason, error.retryable, error.attempts) == (kind, reason, False, 0)
    assert (error.status, error.body, error.request_id) == (None, None, None)
    assert_ours(error, CANARY, "5501", TOKEN)
    return error
