from __future__ import annotations

import pytest

from oo.gateway.context import gateway_context
from oo.gateway.errors import GatewayError, NoToken
from oo.gateway.middleware.authorize import Authorize
from oo.gateway.models import Denial, Grant, Kind, Route
from oo.gateway.tokens import new_token
from tests.support.calls import call, through
from tests.support.stores import LenientStore

TOKEN = ("Authorization", "Bearer any")
ROUTE = Route("a", "http://x.example")


class Door(LenientStore):
    def __init__(self, denial: Denial | None = None, route: Route | None = ROUTE) -> None:
        super().__init__()
        self.denial = denial
        self.found = route
        self.asked: list[tuple[str, str, str | None]] = []

    async def authorize(  # type: ignore[override]
        self, token: str, kind: Kind, *, key: str | None = None
    ) -> Grant | Denial:
        self.asked.append((token, kind, key))
        return self.denial or Grant("id", kind, "a", "label", concurrency=2)

    async def route(self, name: str) -> Route | None:
        return self.found


@pytest.mark.parametrize(
    ("endpoint", "kind", "route"), [("secret", "secret", None), ("env", "env", None), ("proxy", "route", ROUTE)]
)
async def test_what_a_token_opens_is_known_further_in(endpoint: str, kind: str, route: Route | None) -> None:
    store, request = Door(), call("GET", "/x", TOKEN, endpoint=endpoint)
    await through(Authorize(store), request)
    context = gateway_context(request)
    assert (context.token_id, context.label, context.kind, context.target) == ("id", "label", kind, "a")
    assert context.concurrency == 2
    assert (context.route, store.asked) == (route, [("any", kind, None)])


@pytest.mark.parametrize("counted", [True, False])
async def test_a_token_without_a_limit_of_uses_has_nothing_to_pay(counted: bool) -> None:
    class Unlimited(Door):
        async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant:  # type: ignore[override]
            return Grant("id", kind, "a", counted=counted)

    request = call("GET", "/x", TOKEN)
    await through(Authorize(Unlimited()), request)
    assert gateway_context(request).paid is not counted


@pytest.mark.parametrize(("endpoint", "opened"), [("proxy", True), ("secret", False), ("env", False)])
async def test_a_token_in_the_query_opens_a_route_alone_and_goes_no_further(endpoint: str, opened: bool) -> None:
    token = new_token()
    store, request = Door(), call("GET", f"/x?key={token}&a=1", endpoint=endpoint)
    if not opened:
        with pytest.raises(NoToken):
            await through(Authorize(store), request)
        return
    _, (sent,) = await through(Authorize(store), request)
    assert (store.asked, sent.url) == ([(token, "route", None)], "/x?a=1")


async def test_a_token_in_two_places_asks_nobody() -> None:
    store, token = Door(), new_token()
    with pytest.raises(GatewayError) as caught:
        await through(Authorize(store), call("GET", "/x", ("x-api-key", token), ("api-key", token)))
    assert (caught.value.status, caught.value.outcome, store.asked) == (400, "bad request", [])


async def test_a_keyed_call_may_need_no_use() -> None:
    store, request = Door(), call("POST", "/x", TOKEN, ("Idempotency-Key", "k"))
    await through(Authorize(store), request)
    assert (store.asked, gateway_context(request).key) == ([("any", "route", "k")], "k")


async def test_health_is_for_everybody() -> None:
    store = Door(Denial("unknown"))
    await through(Authorize(store), call("GET", "/health", endpoint="health"))
    assert store.asked == []


@pytest.mark.parametrize("fields", [[], ["Basic any"], ["Bearer "], ["Bearer"], ["Bearer a", "Bearer a"]])
async def test_a_call_without_one_token_asks_nobody(fields: list[str]) -> None:
    store = Door()
    with pytest.raises(GatewayError) as caught:
        await through(Authorize(store), call("GET", "/x", *[("Authorization", field) for field in fields]))
    assert (caught.value.status, caught.value.outcome, store.asked) == (401, "no token", [])


@pytest.mark.parametrize(("endpoint", "in_query"), [("proxy", True), ("secret", False), ("env", False)])
async def test_who_sent_no_token_is_told_where_it_belongs(endpoint: str, in_query: bool) -> None:
    with pytest.raises(NoToken) as caught:
        await through(Authorize(Door()), call("GET", "/x", endpoint=endpoint))
    said = "no token was sent: it belongs in the header Authorization, as 'Bearer oo_...'"
    assert caught.value.message.startswith(said)
    assert caught.value.message.endswith("x-api-key, api-key, x-goog-api-key, private-token, ?key=") is in_query
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    ("denial", "route", "endpoint", "status", "outcome", "wait"),
    [
        (Denial("revoked", "id"), ROUTE, "proxy", 401, "revoked", None),
        (Denial("rate", "id", 2.1), ROUTE, "secret", 429, "rate", "3"),
        (None, None, "proxy", 401, "gone", None),
        (None, None, "other", 404, "no such place", None),
    ],
)
async def test_what_opens_nothing_is_refused(
    denial: Denial | None, route: Route | None, endpoint: str, status: int, outcome: str, wait: str | None
) -> None:
    with pytest.raises(GatewayError) as caught:
        await through(Authorize(Door(denial, route)), call("GET", "/x", TOKEN, endpoint=endpoint))
    assert (caught.value.status, caught.value.outcome) == (status, outcome)
    assert caught.value.headers.get("Retry-After") == wait
    assert caught.value.message.endswith(f": again in {wait} s") is (status == 429)
