"""What would become of a call: the gateway's own chain, over a vault that counts nothing and a transport that sends
nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, NoReturn

from .._core.io import LoopIO
from .._core.pipeline import CallNext, Middleware, Pipeline
from .._core.slots import Slot
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError
from .advice import advice
from .background import Background
from .context import GatewayContext, gateway_context, of_route
from .credentials.registry import Registry
from .destinations import Destination, absolute_form
from .egress import check_literal
from .endpoints import PREFIX, endpoint_of, is_own, with_slash
from .errors import GatewayError
from .middleware.allow import Allow
from .middleware.authorize import Authorize
from .middleware.credentials import ApplyCredentials, credentials_of
from .middleware.forward import Forward
from .middleware.lead_back import LeadBack
from .middleware.limits import Limits
from .models import Denial, Grant, Kind, Route, Token, names_in
from .open_calls import OpenCalls
from .route_credentials import KINDS, shown
from .rules import format_rate
from .spending import calls_at_once, charge, has_use
from .stack import gateway_chain
from .store.base import Keeper
from .store_transport import StoreTransport


class Refusal(NamedTuple):
    """Who said no, in which words, and what would mend it."""

    by: str
    message: str
    mend: str


@dataclass
class Explanation:
    """The word of each step that the call passed, each with what it is about; then who said no, or None."""

    words: list[tuple[str, str]] = field(default_factory=list)
    refusal: Refusal | None = None


class LookingStore:
    """The store of a keeper, in which a call changes nothing."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.check, self.opens, self.terms = keeper.check, keeper.opens, keeper.terms
        self.secret, self.environment, self.route, self.cors = (
            keeper.secret,
            keeper.environment,
            keeper.route,
            keeper.cors,
        )
        self.bundle = keeper.bundle
        self.authority = self.put_secret = self.claim = self.result = self.renew = self.complete = self.release = (
            _refuse
        )

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:  # noqa: ARG002
        grant = await self.opens(token, kind)
        terms = await self.terms(token)
        if isinstance(grant, Denial) or isinstance(terms, Denial):
            return grant
        found, tat = terms
        if not has_use(found, found.used):
            return found.denied("used up")
        outcome = charge(found, tat, time.time())
        return outcome if isinstance(outcome, Denial) else grant

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        return await self.authorize(token, kind)


async def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("a call that is explained writes nothing")


async def explain(vault: LookingStore, token: str, method: str, path: str, kinds: Registry = KINDS) -> Explanation:
    """What each step of the chain says of a call with that token: by a path, or by an upstream's own URL, as the
    forward proxy is asked. Nothing is sent, counted or written down. `kinds` are the gateway's kinds of credentials."""
    context, target = GatewayContext(), with_slash(path)
    if (absolute := absolute_form(path)) is not None:
        scheme, host, port, rest = absolute
        context.destination = Destination(scheme, host, port, (token,), tunnelled=scheme == "https")
        target = PREFIX + rest[1:]
    elif not (is_own(path.partition("?")[0]) or target.startswith(PREFIX)):  # it is one of the upstream's
        target = PREFIX + path.removeprefix("/")
    context.endpoint = endpoint_of(method, target.partition("?")[0])
    request = Request(method, target, Headers([("Authorization", f"Bearer {token}")]), context=context)
    told = _Told(vault, token)
    calls = OpenCalls(vault)
    nowhere = _Nowhere(vault)
    whole = gateway_chain(vault, None, Background(), calls, nowhere, kinds)
    layers = [each for each in whole if not isinstance(each, Slot)]
    chain: list[Middleware] = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        # Credentials are shown, not applied: some kinds would have to be fetched.
        chain.append(_ReadCredentials(kinds) if isinstance(layer, ApplyCredentials) else layer)
        chain.append(_Watch(told, layer, "the transport" if following is None else type(following).__name__))
    try:
        await Pipeline(chain, nowhere, LoopIO()).handle(request)
    finally:
        await calls.close()
    if told.explanation.refusal is None:
        told.explanation.words.append(("answer", "the gateway's" if context.route is None else "the upstream's"))
    return told.explanation


class _Told:
    """What was told so far."""

    def __init__(self, vault: LookingStore, token: str) -> None:
        self.explanation = Explanation()
        self._vault = vault
        self._token = token

    async def passed(self, layer: Middleware, request: Request) -> None:
        """Note the word of a step that let the call pass."""
        terms = await self._vault.terms(self._token)
        if not isinstance(terms, Denial) and (word := _WORDS.get(type(layer))):
            self.explanation.words += word(request, *terms)

    async def refused(self, by: str, error: DoubleOError | GatewayError, request: Request) -> None:
        """Note who said no; the innermost is the first."""
        if self.explanation.refusal is not None:
            return
        terms, token = await self._vault.terms(self._token), None
        if not isinstance(terms, Denial):
            token = terms[0]
            self.explanation.words = self.explanation.words or list(_terms(*terms))
        self.explanation.refusal = Refusal(by, str(error), advice(error, request, token))


class _Watch:
    """Stands behind a layer, and sees what that lets pass and what the following one refuses."""

    def __init__(self, told: _Told, layer: Middleware, following: str) -> None:
        self._told = told
        self._layer = layer
        self._following = following

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        await self._told.passed(self._layer, request)
        try:
            return await call_next(request)
        except (DoubleOError, GatewayError) as error:
            await self._told.refused(self._following, error, request)
            raise


class _ReadCredentials:
    """Refuses the credentials that ApplyCredentials could not read, and applies none."""

    def __init__(self, kinds: Registry) -> None:
        self._kinds = kinds

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route = gateway_context(request).route
        if route is not None:
            credentials_of(route, self._kinds)
        return await call_next(request)


class _Nowhere:
    """The end of the chain, where nothing is sent."""

    def __init__(self, vault: LookingStore) -> None:
        self._store = StoreTransport(vault)

    async def send(self, request: Request) -> Response:
        route = gateway_context(request).route
        if route is None:
            return await self._store.send(request)
        if not route.allow_private:
            check_literal(route.upstream)
        return Response(204, request=request)

    async def close(self) -> None:
        """Do nothing."""


def injected(route: Route) -> list[str]:
    """What of a route's credentials may be shown."""
    headers = [
        f"the header {name} with {', '.join(sorted(f'{{{secret}}}' for secret in names_in(text))) or '***'}"
        for name, text in route.inject.items()
    ]
    return headers + shown(route)


Words = Iterator[tuple[str, str]]


def _authorized(request: Request, token: Token, tat: float) -> Words:
    return _terms(token, tat) if gateway_context(request).kind is not None else iter(())


def _terms(token: Token, tat: float) -> Words:
    label = f" ({token.label})" if token.label else ""
    yield "token", f"{token.id}{label} opens the {token.kind} {token.name}"
    uses = "any number of uses" if token.uses is None else f"{token.uses - token.used} of {token.uses} uses"
    now = time.time()
    rate = "" if token.rate is None else f", {calls_at_once(token.rate, tat, now)} at once of {format_rate(token.rate)}"
    until = "" if token.expires is None else time.strftime(", until %Y-%m-%d %H:%M:%S", time.localtime(token.expires))
    yield "left", f"{uses}{rate}{until}"


def _allowed(request: Request, _token: Token, _tat: float) -> Words:
    route = gateway_context(request).route
    if route is not None:
        path = request.url[len(PREFIX) :].partition("?")[0]
        by = [pattern for pattern in route.allow if replace(route, allow=(pattern,)).allows(request.method, path)]
        yield "allowed", f"by {by[0]}" if by else "the route allows everything"


def _paid(request: Request, token: Token, _tat: float) -> Words:
    if gateway_context(request).kind is not None:
        yield "costs", "no use" if token.uses is None else "one use"


def _forwarded(request: Request, _token: Token, _tat: float) -> Words:
    if gateway_context(request).route is not None:
        yield "goes to", f"{request.method} {request.url}"


def _credentials(request: Request, _token: Token, _tat: float) -> Words:
    if gateway_context(request).route is not None:
        for what in injected(of_route(request)) or ["nothing"]:
            yield "injected", what


_WORDS: dict[type, Callable[[Request, Token, float], Words]] = {
    Authorize: _authorized,
    Allow: _allowed,
    Limits: _paid,
    Forward: _forwarded,
    LeadBack: _credentials,
}
