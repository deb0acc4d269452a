"""What the two clients share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from .. import _plugins
from .._core.errors import buffer_if_error, to_call_error
from .._core.io import IO, BlockingIO, LoopIO
from .._core.pipeline import Middleware, Pipeline, Transport, no_response
from .._core.slots import compose
from .._core.validation import check_seconds, check_whole
from .._core.warnings import outside
from .._http.request import Request
from .._http.response import Response
from .._http.urls import base_url as checked_base_url
from .._http.urls import is_loopback
from ..exceptions import ERROR_OF
from ..hooks import ClientInfo
from ..middleware import SecretCache, default_chain, shared_cache
from .operations import RequestFactory

DEFAULT_BASE_URL = "http://localhost:3001"
_warned: set[str] = set()


class BaseClient:
    """What the two clients share: how one is made, and the ends of a call."""

    _blocking: bool

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float = 30,
        retries: int = 0,
        backoff_factor: float = 0.5,
        *,
        deadline: float | None = None,
        middleware: Sequence[Middleware] | None = None,
        plugins: bool = True,
        cache: SecretCache | None = None,
        logging: bool = False,
        transport: Transport | None = None,
        max_response_bytes: int = 64 << 20,
    ) -> None:
        """Make a client. ValueError or TypeError names an argument that cannot be.

        Args:
            base_url: the server; None for `OO_BASE_URL`, else http://localhost:3001.
            timeout: seconds for one attempt, from connecting to the body's last byte.
            retries: how often a failed call is tried again.
            backoff_factor: seconds before the first retry, doubled for each further one.
            deadline: seconds for a whole call, its attempts and waits together; None for no such bound.
            middleware: the exact chain to use, outermost first; None for the default one with plugins.
            plugins: whether the default chain takes plugins in.
            cache: the store of the default chain; None for the one that the process shares.
            logging: whether the default chain logs each call to the logger `oo`.
            max_response_bytes: the most that an answer may hold once decompressed; a secret or an environment never
                more than 1 MiB. Of a stream it bounds one line and one event.
            transport: what sends; None for requests in `Client`, aiohttp in `AsyncClient`.
        """
        self.base_url = checked_base_url(resolve_base_url(base_url))
        check_seconds("timeout", timeout)
        check_seconds("deadline", deadline, none=True)
        check_whole("retries", retries, 0)
        self.timeout = timeout
        self.retries = retries
        self.backoff_factor = backoff_factor
        if middleware is None:
            slotted = default_chain(retries=retries, backoff_factor=backoff_factor, logging=logging, cache=cache)
            info = ClientInfo(self.base_url, self._blocking, retries)
            chain = compose(slotted, _plugins.plugins.middleware(info) if plugins else {})
        elif retries or backoff_factor != 0.5 or logging or cache is not None:
            raise ValueError(
                "retries, backoff_factor, logging and cache shape the default chain: give them to default_middleware()"
            )
        else:
            chain = list(middleware)
        self._store = shared_cache() if cache is None else cache
        check_whole("max_response_bytes", max_response_bytes, 1)
        self._factory = RequestFactory(self.base_url, timeout, max_response_bytes)
        self._deadline = deadline
        transport = self._transport() if transport is None else transport
        io: IO = getattr(transport, "io", None) or (BlockingIO() if self._blocking else LoopIO())
        self._pipeline = Pipeline(chain, transport, io)
        self._lookup = self._pipeline.lookup
        self._closed = False
        _warn_of_plain_http(self.base_url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def _transport(self) -> Transport:
        raise NotImplementedError

    async def _perform(self, request: Request) -> Response:
        """The whole call, the same for both clients: its answer parsed, or its operation's error."""
        if self._closed:
            raise ERROR_OF[request.operation]("this client is closed; make a new one", reason="closed")
        pipeline = self._pipeline
        request.context.started = now = pipeline.io.now()
        if self._deadline is not None:
            request = request.replace(deadline=now + self._deadline)
        try:
            response = await pipeline.handle(request)
            if not isinstance(response, Response):
                raise no_response(response, pipeline)
            if response.stream is not None:
                response = await buffer_if_error(response)
            response.parse()
            return response
        except Exception as error:
            failure = to_call_error(error, request)
            if failure is None:
                raise
        raise failure

    def _invalidate(self, token: str | None) -> None:
        stores = {id(self._store): self._store}
        for middleware in self._pipeline.middleware:
            store = getattr(middleware, "store", None)
            if isinstance(store, SecretCache):
                stores[id(store)] = store
        for store in stores.values():
            store.clear() if token is None else store.invalidate(token)

    def _mark_closed(self) -> bool:
        """Whether it was open until now."""
        was_open, self._closed, self._lookup = not self._closed, True, None
        self._pipeline.shut()
        return was_open


def resolve_base_url(base_url: str | None) -> str:
    """The argument, else `OO_BASE_URL`, else where `oo serve` listens."""
    return os.environ.get("OO_BASE_URL") or DEFAULT_BASE_URL if base_url is None else base_url


def _warn_of_plain_http(base_url: str) -> None:
    if base_url.startswith("http:") and not is_loopback(base_url) and base_url not in _warned:
        _warned.add(base_url)
        text = f"{base_url} is plain http: whoever is on the way can read the token and the secret; use https"
        warnings.warn(text, UserWarning, stacklevel=outside())
