from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.background import Background
from oo.gateway.context import GatewayContext
from oo.gateway.credentials.registry import Registry
from oo.gateway.errors import GatewayError
from oo.gateway.middleware.call_tools import Workshop
from oo.gateway.middleware.credentials import ApplyCredentials, credentials_of
from oo.gateway.middleware.mask import MaskResponse
from oo.gateway.models import Route
from tests.support.stores import LenientStore

ROUTE = Route("r", "http://x", {"X-Key": "Key {key}", "Authorization": "{key}:{other}"})


class Secrets(LenientStore):
    """A store of some secrets."""

    def __init__(self, **secrets: str) -> None:
        super().__init__()
        self.secrets = secrets

    async def secret(self, name: str) -> str | None:
        return self.secrets.get(name)


def request() -> oo.Request:
    context = GatewayContext()
    context.route = ROUTE
    return oo.Request("GET", "http://x/", context=context)


def applied(store: Secrets, transport: oo.testing.MockTransport) -> ApplyCredentials:
    return ApplyCredentials(Workshop(store, transport, Background()), Registry())


def pipeline(store: Secrets, transport: oo.testing.MockTransport) -> Pipeline:
    return Pipeline([MaskResponse(), applied(store, transport)], transport, LoopIO())


async def test_each_header_goes_with_its_secrets_and_none_comes_back() -> None:
    transport = oo.testing.MockTransport(lambda sent: sent.headers["Authorization"].encode())
    response = await pipeline(Secrets(key="first-key", other="other-key"), transport).handle(request())
    (sent,) = transport.requests
    assert (sent.headers["X-Key"], sent.headers["Authorization"]) == ("Key first-key", "first-key:other-key")
    assert response.body == b"***:***"


async def test_a_changed_secret_goes_with_the_next_call() -> None:
    transport = oo.testing.MockTransport(lambda sent: sent.headers["X-Key"].encode())
    store = Secrets(key="first-key", other="other-key")
    chain = pipeline(store, transport)
    for key in ("first-key", "second-key"):
        store.secrets["key"] = key
        assert (await chain.handle(request())).body == b"Key ***"
        assert transport.requests[-1].headers["X-Key"] == f"Key {key}"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "naïve", "\x7f"])
async def test_a_value_that_cannot_be_sent_is_not_and_is_not_quoted(value: str) -> None:
    transport = oo.testing.MockTransport([])
    with pytest.raises(oo.DoubleOError, match="the text it injects as X-Key cannot be a header") as caught:
        await pipeline(Secrets(key=value, other="o"), transport).handle(request())
    assert (caught.value.reason, transport.requests) == ("argument", [])
    assert value not in str(caught.value)


async def test_a_missing_secret_sends_nothing() -> None:
    transport = oo.testing.MockTransport([])
    with pytest.raises(oo.DoubleOError, match="a secret that it injects is missing"):
        await pipeline(Secrets(key="first-key"), transport).handle(request())
    assert transport.requests == []


async def test_nothing_is_sent_where_no_mask_would_hide_it() -> None:
    transport = oo.testing.MockTransport([])
    chain = Pipeline([applied(Secrets(key="first-key", other="o"), transport)], transport, LoopIO())
    with pytest.raises(RuntimeError, match="no MaskResponse"):
        await chain.handle(request())
    assert transport.requests == []


async def test_of_a_websocket_the_handshake_is_signed_and_its_messages_are_left_alone() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("a message was asked for before the WebSocket was open")
        yield b""

    text = "sigv4 access_key={key} secret_key={other} region=eu-west-1 service=bedrock"
    context = GatewayContext()
    context.websocket, context.route = True, Route("r", "http://x", credentials=(text,), websocket=True)
    body = Body(never())
    transport = oo.testing.MockTransport(lambda sent: b"")
    chain = pipeline(Secrets(key="first-key", other="other-key"), transport)
    await chain.handle(oo.Request("GET", "http://x/", body=body, context=context))
    assert transport.requests[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert transport.requests[0].body is body


@pytest.mark.parametrize(
    ("texts", "outcome", "said"),
    [
        (("acme-hmac {key}",), "unknown kind", "the route r has credentials of the kind 'acme-hmac' that this gateway"),
        (("acme-hmac canary",), "unknown kind", "the route r has credentials of a kind that this gateway"),
        (("jwt alg=none key={key}",), "bad route", "the credentials of the route r cannot be used"),
    ],
)
def test_credentials_that_cannot_be_read_are_the_gateways_own_error(
    texts: tuple[str, ...], outcome: str, said: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        credentials_of(Route("r", "http://x", credentials=texts), Registry())
    assert (caught.value.status, caught.value.outcome) == (500, outcome)
    assert caught.value.message.startswith(said)
    assert ("`oo serve --plugins NAME`" in caught.value.message) == (outcome == "unknown kind")
    assert caught.value.__cause__ is caught.value.__context__ is None
