"""The gateway's chain: what a call passes through, from outside to inside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .._core.io import IO, LoopIO
from .._core.pipeline import Middleware, Pipeline, Transport
from .._core.slots import Slot, compose
from .._http.request import Request
from .._http.response import Response
from .audit_log import Audit, AuditLog
from .background import Background
from .capacity import Capacity
from .context import GatewayContext, gateway_context
from .counting_audit import CountingAudit
from .credentials.registry import Registry
from .entrance import Entrance
from .errors import GatewayError
from .metered_store import metered
from .middleware.allow import Allow
from .middleware.audit import WriteAudit
from .middleware.authorize import Authorize
from .middleware.begin_audit import BeginAudit
from .middleware.call_tools import Workshop
from .middleware.concurrency import Concurrency
from .middleware.cors import Cors
from .middleware.credentials import ApplyCredentials
from .middleware.end_revoked import EndRevoked
from .middleware.error_responses import ErrorResponses
from .middleware.failover import Failover, Rests
from .middleware.forward import Forward
from .middleware.idempotency import Idempotency
from .middleware.lead_back import LeadBack
from .middleware.limits import Limits
from .middleware.mask import MaskResponse
from .middleware.resilience import Resilience
from .middleware.whole_answers import WholeAnswers
from .open_calls import OpenCalls, OpenTunnel
from .store.base import Store
from .store_transport import StoreTransport
from .upstream import UpstreamTransport

if TYPE_CHECKING:
    from .metrics import Metrics

_CALLS = 4096  # at once, unless told
_OF_ROUTES = (
    Allow,
    EndRevoked,
    Idempotency,
    Forward,
    Resilience,
    Failover,
    MaskResponse,
    WholeAnswers,
    LeadBack,
    ApplyCredentials,
)
"""What has something to do for a proxied call alone."""


def gateway_chain(
    store: Store,
    audit: Audit | None,
    background: Background,
    calls: OpenCalls,
    upstream: Transport,
    kinds: Registry,
    capacity: Capacity | None = None,
    rests: Rests | None = None,
) -> list[Middleware | Slot]:
    """The chain of a gateway, with the slots of plugins in their places. Whatever is refused is a GatewayError until
    ErrorResponses, so a plugin sees it as it sees a client's error. `kinds` are those of the credentials, which fetch
    what they need by `upstream`. `rests` is told of an upstream that rests (Failover)."""
    return [
        WriteAudit(audit),  # a line for each call, when its answer has ended
        Cors(store),  # preflights, and whose programs may read an answer
        ErrorResponses(),  # every error becomes a response
        Slot.CALL,
        Authorize(store),  # what the token opens and has left; charges its rate
        Allow(),  # the route's methods and paths
        Concurrency(capacity or Capacity(_CALLS)),  # a place for the call, until its work ends
        BeginAudit(audit),  # a line before a secret or a kept result is read or anything is sent
        Slot.FETCH,
        EndRevoked(calls),  # ends a call whose token is revoked or expires meanwhile
        Idempotency(store, background),  # a keyed call is made once; its claim pays a use
        EndRevoked(calls, keyed=True),  # ends what goes on for a repeat when its caller has left
        Limits(store),  # any other call pays a use
        Forward(),  # the upstream's URL, and the headers that pass either way
        Resilience(),  # the library's Retry, as often as the route says
        Failover(rests),  # which of the route's upstreams
        Slot.ATTEMPT,
        MaskResponse(),  # no secret comes back
        WholeAnswers(),  # a caller's Range does not cut what the mask reads
        LeadBack(),  # the upstream's own URLs lead back here
        ApplyCredentials(Workshop(store, upstream, background), kinds),  # the route's secrets, where each belongs
        Slot.WIRE,
    ]


class Stack:
    """The composed chain over its transports: to the upstream for a route's call, to the store for any other."""

    def __init__(
        self,
        store: Store,
        audit: Audit | None = None,
        offers: Mapping[Slot, Sequence[Middleware]] | None = None,
        *,
        kinds: Registry | None = None,
        capacity: Capacity | None = None,
        io: IO | None = None,
        watchers: Sequence[Middleware] = (),
        metrics: Metrics | None = None,
        elsewhere: bool = False,
    ) -> None:
        """`offers` are the middlewares of plugins for each slot, `kinds` the kinds of credentials, with theirs,
        `capacity` what the process can hold at once. `watchers` stand outside of all, and change nothing.
        `metrics` are what is counted into, if anything is. `elsewhere`: tunnels lead to where no route goes, too."""
        if metrics is not None:
            if isinstance(audit, AuditLog):
                audit.told = partial(metrics.count, 1, "oo_audit_lost")
            audit = CountingAudit(metrics, audit)
            store = metered(store, metrics)
        self._background = Background()
        self._calls = OpenCalls(store)
        self._end = _End(store, audit)
        io, upstream = LoopIO() if io is None else io, self._end.upstream
        kinds, rests = kinds or Registry(), None if metrics is None else metrics.rests
        capacity = capacity or Capacity(_CALLS)
        chain = gateway_chain(store, audit, self._background, self._calls, upstream, kinds, capacity, rests)
        self._chain: list[Middleware | Slot] = [*watchers, *chain]
        self._io = io
        self.compose(offers or {})
        blind = self._blind(capacity, audit) if elsewhere else None
        # What is no HTTP cannot be waited for, and no plugin is asked.
        outer = self._chain[: self._chain.index(Slot.CALL)]
        self._malformed = Pipeline(compose(outer, {}), _Malformed(), io)
        self._entrance = Pipeline(compose(outer, {}), Entrance(store, blind), io)

    def _blind(self, capacity: Capacity, audit: Audit | None) -> Transport:
        from .elsewhere import Elsewhere

        return Elsewhere(capacity, self._calls, audit)

    def compose(self, offers: Mapping[Slot, Sequence[Middleware]]) -> None:
        """Put the middlewares of plugins into their slots, for the calls that begin from here on."""
        for each in self._chain:
            if isinstance(each, Idempotency):
                each.is_within_plugins = bool(offers.get(Slot.CALL) or offers.get(Slot.FETCH))
        self.pipeline = Pipeline(compose(self._chain, offers), self._end, self._io)
        # They would hand another call on as it is, which costs it as much as all the others together.
        short = [each for each in self._chain if not isinstance(each, _OF_ROUTES)]
        self._short = Pipeline(compose(short, offers), self._end, self._io)

    async def obstacle(self) -> str:
        """Why the gateway could not open things now; "" where it could."""
        return await self._end.store.obstacle()

    def drain(self) -> None:
        """Say from here on that the gateway is not ready for more."""
        self._end.store.is_draining = True

    def cut(self, calls: int) -> None:
        """Tell the audit that the calls under way are being cut."""
        for each in self._chain:
            if isinstance(each, WriteAudit):
                each.cut(calls)

    def handle(self, request: Request) -> Awaitable[Response]:
        """The answer to a call, whoever gives it."""
        endpoint = gateway_context(request).endpoint
        if endpoint in ("tunnel", "authority"):
            return self._entrance.handle(request)
        return (self.pipeline if endpoint == "proxy" else self._short).handle(request)

    def refuse(self, request: Request) -> Response:
        """The answer to what is `malformed`."""
        return self._malformed.run(request)

    def watch(self, context: GatewayContext, leave: Callable[[], object]) -> Callable[[], None]:
        """Have `leave` called when the token of a tunnel opens nothing any more, until what is returned is called."""
        tunnel = OpenTunnel(context, leave)
        self._calls.add(tunnel)
        return partial(self._calls.discard, tunnel)

    async def close(self) -> None:
        """Close the connections, after a second at most for the calls that must be completed."""
        await self._background.close()
        await self._calls.close()
        await self._entrance.transport.close()
        await self._end.close()


class _End:
    """The transports at the end of the chain."""

    def __init__(self, store: Store, audit: Audit | None) -> None:
        self.store = StoreTransport(store, audit)
        self.upstream = UpstreamTransport(store)

    def send(self, request: Request) -> Coroutine[Any, Any, Response]:
        transport = self.store if gateway_context(request).route is None else self.upstream
        return transport.send(request)

    async def close(self) -> None:
        await self.upstream.close()


class _Malformed:
    """Answers what is not HTTP as it should be, without quoting it."""

    async def send(self, request: Request) -> Response:
        context = gateway_context(request)
        raise GatewayError(
            context.malformed_status, context.malformed or "", "bad request", {"X-Request-Id": context.id}
        )

    async def close(self) -> None:
        """Do nothing."""
