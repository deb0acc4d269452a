"""What the steps of one call share in the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING

from .._http.context import Context
from .._http.request import Request
from .capacity import Capacity, Place
from .destinations import Destination
from .endpoints import PREFIX
from .models import Kind, Route

if TYPE_CHECKING:
    import ssl

    from .._http.response import Response
    from .background import Caller


class GatewayContext(Context):
    """A call's context in the gateway.

    Attributes:
        malformed: what is wrong with the HTTP of the call, or None; it is answered with `malformed_status`.
        peer: the address of whoever has connected, where it is known.
        local: the address and port at which they have, for a CONNECT.
        scheme: "http", or "https" where that connection is over TLS.
        method, path: what was asked for, as it was written, without the query.
        forwarded_for: the address of the caller, as a trusted proxy tells it.
        endpoint: what was asked for: "secret", "env", "proxy", "health", "tunnel", "authority" or "other".
        destination: where the call goes by the forward proxy, if it came by that.
        prefix: what stands for the path of the upstream in the caller's URLs.
        tunnel: what a tunnel that was asked for is ended with.
        is_last: whether the connection ends after the answer.
        token_id, label: the caller's token, once it is known.
        kind, target: what the token opened, and its name.
        concurrency: how many calls of the token may be under way at once, where its terms say.
        websocket: whether the call asks for a WebSocket; its bodies are then of Messages.
        key: the idempotency key of the call, if it has one.
        paid: whether the use of the token that the call costs was counted, or none needs to be.
        route: the route of a proxied call.
        tls: what the connection to the upstream is made with, where its route has its own.
        upstream: the URL, as the route has it, of the upstream that was asked last.
        hidden: the secrets that went upstream, which must not come back; None outside of MaskResponse.
        audited: what both of the call's lines in the audit hold, once the first was written.
        outcome: the word for the audit, where the gateway itself answers.
        joined: how often the call waited for what another one fetched.
        head: seconds until the head of an answer was there whose body follows.
        ended: why the call was ended before its answer was whole: "revoked", "expired".
        hang_up: closes the caller's connection at once.
        caller: whoever has asked, where the call has come by a connection.
        opened: the answers that flow, whose ends something waits for.
        bytes_in, bytes_out: the bytes of both bodies that the caller sent and was sent.
    """

    side = "server"
    malformed: str | None = None
    malformed_status: int = 400
    peer: str | None = None
    local: tuple[str, int] | None = None
    scheme: str = "http"
    method: str = ""
    path: str = ""
    forwarded_for: str | None = None
    endpoint: str = "other"
    destination: Destination | None = None
    prefix: str = PREFIX
    tunnel: ssl.SSLContext | None = None
    is_last: bool = False
    token_id: str | None = None
    label: str = ""
    kind: Kind | None = None
    target: str | None = None
    concurrency: int | None = None
    websocket: bool = False
    key: str | None = None
    paid: bool = False
    route: Route | None = None
    tls: ssl.SSLContext | None = None
    upstream: str | None = None
    hidden: set[str] | None = None
    audited: str = ""
    outcome: str | None = None
    joined: int = 0
    ended: str | None = None
    head: float | None = None
    hang_up: Callable[[], object] | None = None
    caller: Caller | None = None
    opened: tuple[Response, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0

    def settings(self, name: str) -> Mapping[str, str]:
        return {} if self.route is None else self.route.settings.get(name, {})

    def end(self) -> None:
        """Leave the answers that nobody began to read: a plugin may drop one, or fail with it."""
        opened, self.opened = self.opened, ()  # which hold this
        for answer in opened:
            if not getattr(answer.stream, "begun", True):
                answer.abort()

    @cached_property
    def place(self) -> Place:
        """What the call holds of the process; one that counts nowhere, where Concurrency gave none."""
        return Capacity(1).take("")


# Each step asks for it, so it is written in C.
gateway_context: Callable[[Request], GatewayContext] = attrgetter("context")
"""The context of a call in the gateway."""


def of_route(request: Request) -> Route:
    """The route of a proxied call; TypeError for another."""
    route = gateway_context(request).route
    if route is None:
        raise TypeError("this call has no route")
    return route


def passes_encoding(request: Request) -> bool:
    """Whether the answer's body is passed on in the coding it comes in: nothing is injected, so nothing is masked."""
    context = request.context
    if not isinstance(context, GatewayContext) or context.route is None:
        return False
    return not (context.route.texts or context.hidden)
