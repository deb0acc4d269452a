"""What the two clients share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from copy import copy
from functools import partial, update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from .. import _plugins
from .._core.io import IO, BlockingIO, LoopIO
from .._core.pipeline import Middleware, Pipeline, Transport
from .._core.slots import ClientInfo, compose
from .._core.validation import check_seconds, check_whole
from .._core.warnings import outside
from .._http import urls
from .._http.request import MAX_BODY_BYTES
from ..middleware.default import default_chain, shared_cache
from ..middleware.retry import Retry
from ..middleware.secret_cache import SecretCache
from .operations import DEFAULT_TIMEOUT, Gate, RequestFactory, perform

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..transports.trust import Certificate, Verify

_warned: set[str] = set()


class BaseClient:
    """What the two clients share: how one is made, changed and closed.

    Args:
        base_url: the server; None for `OO_BASE_URL`, else http://127.0.0.1:3001.
        timeout: seconds for one attempt, from connecting to the body's last byte. While it is 30, as by default,
            a model's answer (chat, embed, image) may take 300.
        retries: how often a failed call is tried again.
        backoff_factor: seconds before the first retry, doubled for each further one.
        deadline: seconds for a whole call, its attempts and waits together; None for no such bound.
        middleware: the exact chain to use, outermost first; None for the default one with plugins.
        plugins: whether the default chain takes plugins in.
        cache: the store of the default chain; None for the one that the process shares.
        logging: whether the default chain logs each call to the logger `oo`.
        max_response_bytes: the most that an answer may hold once decompressed; a secret or an environment never
            more than 1 MiB. Of a stream it bounds one line and one event.
        verify: whom to trust: a file or folder of authorities, or an ssl.SSLContext; None for REQUESTS_CA_BUNDLE,
            CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR, else the system's store and certifi's.
        cert: what to show to a server that asks for a certificate: a PEM file, or one and its key's file.
        max_connections: the most that are open at once to one host in `Client`, in one loop in `AsyncClient`; at
            most half of the files that the process may open. A call that needs one more waits.
        transport: what sends; None for requests in `Client`, aiohttp in `AsyncClient`.
    """

    _blocking: bool

    def __init_subclass__(cls) -> None:
        """Give a client an `__init__` of its own name, which the error of a wrong argument says."""
        super().__init_subclass__()
        if BaseClient in cls.__bases__:  # not a subclass of a user's, whose other bases may have one
            made = BaseClient.__init__
            own = FunctionType(made.__code__, made.__globals__, made.__name__, made.__defaults__)
            update_wrapper(own, made)
            own.__kwdefaults__, own.__qualname__ = made.__kwdefaults__, f"{cls.__name__}.__init__"
            cls.__init__ = own  # type: ignore[method-assign]  # of a class that was just made

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 0,
        backoff_factor: float = 0.5,
        *,
        deadline: float | None = None,
        middleware: Sequence[Middleware] | None = None,
        plugins: bool = True,
        cache: SecretCache | None = None,
        logging: bool = False,
        transport: Transport | None = None,
        max_response_bytes: int = MAX_BODY_BYTES,
        verify: Verify = None,
        cert: Certificate = None,
        max_connections: int = 256,
    ) -> None:
        """Make a client. `BaseClient` documents the arguments; ValueError or TypeError names one that is wrong."""
        self.base_url = urls.base_url(resolve_base_url(base_url))
        check_seconds("timeout", timeout)
        check_seconds("deadline", deadline, none=True)
        check_whole("retries", retries, 0)
        check_whole("max_response_bytes", max_response_bytes, 1)
        check_whole("max_connections", max_connections, 1)
        self.timeout, self.retries, self.backoff_factor, self._deadline = timeout, retries, backoff_factor, deadline
        self._store = shared_cache() if cache is None else cache
        self._factory = RequestFactory(self.base_url, timeout, max_response_bytes)
        chain = self._default_chain(plugins, logging, cache) if middleware is None else list(middleware)
        if middleware is not None and (retries or backoff_factor != 0.5 or logging or cache is not None):
            raise ValueError(
                "retries, backoff_factor, logging and cache shape the default chain: give them to default_middleware()"
            )
        if transport is None:
            transport = self._transport(verify=verify, cert=cert, max_connections=max_connections)
        elif (verify, cert, max_connections) != (None, None, 256):
            raise ValueError("verify, cert and max_connections shape the default transport: give them to your own")
        self._compose(chain, transport)
        self._derived, self._owns_transport = WeakSet[BaseClient](), True
        _warn_of_plain_http(self.base_url)

    def _default_chain(self, plugins: bool, logging: bool, cache: SecretCache | None) -> list[Middleware]:
        chain = default_chain(retries=self.retries, backoff_factor=self.backoff_factor, logging=logging, cache=cache)
        info = ClientInfo(self.base_url, self._blocking, self.retries)
        return compose(chain, _plugins.plugins.middleware(info) if plugins else {})

    def _compose(self, chain: Sequence[Middleware], transport: Transport) -> None:
        io: IO = getattr(transport, "io", None) or (BlockingIO() if self._blocking else LoopIO())
        self._gate = Gate(transport, io)
        self._pipeline = Pipeline(chain, transport, io, self._gate)
        self._lookup = self._pipeline.lookup
        self._perform = partial(perform, self._pipeline, self._gate, self._deadline)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def _transport(self, **settings: Any) -> Transport:
        raise NotImplementedError

    def with_options(
        self, *, timeout: float | None = None, deadline: float | None = None, retries: int | None = None
    ) -> Self:
        """A client with other settings over the same connections and cache. A setting that is None is this
        client's. Closing the new client leaves the connections open; closing this one closes both. ValueError names
        a setting that is wrong, and `retries` if the chain holds no `Retry`.

        Example:
            slow = client.with_options(timeout=300, retries=0)
        """
        check_seconds("timeout", timeout, none=True)
        check_seconds("deadline", deadline, none=True)
        other = copy(self)
        other.timeout = self.timeout if timeout is None else timeout
        other._deadline = self._deadline if deadline is None else deadline
        other._factory = RequestFactory(self.base_url, other.timeout, self._factory.max_body_bytes)
        chain = self._pipeline.middleware
        if retries is not None:
            if not any(isinstance(middleware, Retry) for middleware in chain):
                raise ValueError("this client's chain holds no Retry: retries= has nothing to change")
            chain = tuple(
                middleware.with_retries(retries) if isinstance(middleware, Retry) else middleware
                for middleware in chain
            )
            other.retries = retries
        other._compose(chain, self._pipeline.transport)
        other._derived, other._owns_transport = WeakSet(), False
        if self._gate.closed:
            other._mark_closed()
        self._derived.add(other)
        return other

    def _invalidate(self, token: str | None) -> None:
        stores = {id(self._store): self._store}
        for middleware in self._pipeline.middleware:
            store = getattr(middleware, "store", None)
            if isinstance(store, SecretCache):
                stores[id(store)] = store
        for store in stores.values():
            store.clear() if token is None else store.invalidate(token)

    def _mark_closed(self) -> bool:
        """Close it, and the clients derived from it, for further calls. Returns whether to close the connections
        too: it was open until now, and they are its own."""
        was_open, self._lookup = not self._gate.closed, None
        self._gate.close()
        for client in list(self._derived):
            client._mark_closed()
        return was_open and self._owns_transport


def resolve_base_url(base_url: str | None) -> str:
    """The argument, else `OO_BASE_URL`, else where `oo serve` listens."""
    return os.environ.get("OO_BASE_URL") or urls.DEFAULT_BASE_URL if base_url is None else base_url


def _warn_of_plain_http(base_url: str) -> None:
    if urls.is_localhost_name(urlsplit(base_url).hostname or ""):  # the transport sees what it resolves to
        return
    if base_url.startswith("http:") and not urls.is_loopback(base_url) and base_url not in _warned:
        _warned.add(base_url)
        text = f"{base_url} is plain http: whoever is on the way can read the token and the secret; use https"
        warnings.warn(text, UserWarning, stacklevel=outside())
