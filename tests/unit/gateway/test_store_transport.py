from __future__ import annotations

from typing import Any

import pytest

import oo
from oo.gateway.audit_log import Audit
from oo.gateway.context import GatewayContext
from oo.gateway.errors import GatewayError, Unauthorized
from oo.gateway.store.moving import unavailable
from oo.gateway.store_transport import StoreTransport
from tests.support.stores import LenientStore, Notes


class Full(LenientStore):
    async def secret(self, name: str) -> str | None:
        return f"value of {name}"

    async def environment(self, name: str) -> dict[str, str] | None:
        return {"NAME": name}


class Moved(LenientStore):
    async def check(self) -> None:
        raise unavailable("id /elsewhere")


def asked(endpoint: str) -> oo.Request:
    context = GatewayContext()
    context.endpoint, context.target = endpoint, "a"
    return oo.Request("GET", f"/api/{endpoint}", context=context)


@pytest.mark.parametrize(
    ("endpoint", "data"),
    [("secret", {"value": "value of a"}), ("env", {"secrets": {"NAME": "a"}}), ("health", {"status": "ok"})],
)
async def test_what_the_store_has_is_answered(endpoint: str, data: Any) -> None:
    transport = StoreTransport(Full())
    answer = await transport.send(asked(endpoint))
    assert (answer.status, answer.json()) == (200, data)
    await transport.close()


@pytest.mark.parametrize("endpoint", ["secret", "env", "other"])
async def test_what_it_has_not_is_the_same_401_as_any(endpoint: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        await StoreTransport(LenientStore()).send(asked(endpoint))
    assert caught.value.outcome == "gone"


@pytest.mark.parametrize(
    ("store", "audit", "draining", "status"),
    [
        (LenientStore(), None, False, "ready"),
        (LenientStore(), Notes(), False, "ready"),
        (LenientStore("check"), None, False, "the store fails"),
        (Moved(), None, False, "the store has moved"),
        (LenientStore(), Notes(GatewayError(503, "full", "full")), False, "the audit cannot be written"),
        (LenientStore(), None, True, "draining"),
    ],
)
async def test_it_is_ready_where_it_could_open_things_now(
    store: LenientStore, audit: Audit | None, draining: bool, status: str
) -> None:
    context = GatewayContext()
    context.endpoint = "health"
    transport = StoreTransport(store, audit)
    transport.is_draining = draining
    answer = await transport.send(oo.Request("GET", "/ready?x=1", context=context))
    assert (answer.status, answer.json()) == (200 if status == "ready" else 503, {"status": status})
