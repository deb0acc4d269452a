"""RequestsTransport: the blocking transport, over requests' adapter.

What this leans on inside the adapter and its manager of pools; `_urllib3_patches.py` has a table for the connections:

| name | why |
|---|---|
| urllib3 `PoolManager.pool_classes_by_scheme` | the adapter makes these pools |
| urllib3 `PoolManager.pools`, requests `HTTPAdapter.proxy_manager` | closing ends the waiting for a connection |
| urllib3 loggers `urllib3.connection`, `urllib3.connectionpool` | no query in what they log |
| http.client `HTTPConnection._tunnel`: the text of its OSError | which status a proxy refused a tunnel with |
| requests `HTTPAdapter.init_poolmanager`, `proxy_manager_for` | the adapter makes these pools |
| requests `HTTPAdapter.build_response` | no cookies or charsets are looked at |
| requests `HTTPAdapter.build_connection_pool_key_attributes`, `cert_verify` | one SSLContext for all connections |
| requests `PreparedRequest._cookies`, its `headers` of another type | a request is filled in without `prepare()` |
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests import Response as Answer
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, RequestException, Timeout
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import ClosedPoolError, EmptyPoolError, HTTPError
from urllib3.poolmanager import ProxyManager
from urllib3.util import SKIP_HEADER

from .._core.pipeline import iterate_sync
from .._http.body import Body
from .._http.headers import Headers, validated_headers
from .._http.request import Request, limits, timed_out
from .._http.response import Response
from .._http.urls import UNIX, is_localhost_name
from ..exceptions import DoubleOError
from ._urllib3_patches import POOLS, Exchange, check_urllib3, thread
from .connecting import resolve
from .exchange import MAX_CONNECTIONS, connection_limit, is_streaming
from .localhost_names import SUFFIX, is_here
from .network_errors import causes, closed, invalid_http, is_closed_connection, network_error, on_the_way, proxy_refusal
from .proxy_env import Proxies
from .reader import ACCEPT_ENCODING, CHUNK, Framing, outgoing, streamed, unsent, whole
from .trust import Certificate, Trust, Verify
from .unix_sockets import HOST, as_http

_REFUSED = re.compile("Tunnel connection failed: ([0-9]{3})")
_ERRORS = (RequestException, HTTPError, OSError, ValueError)


class RequestsTransport:
    """Sends a prepared request straight through one pool of connections.

    No redirects, no cookies, no netrc; proxies and certificates are read from the environment once. A request whose
    kept connection was closed under it is sent once more where that is safe. Safe to share between threads, and made
    anew after a fork.
    """

    def __init__(
        self, *, verify: Verify = None, cert: Certificate = None, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """Make one. ImportError where urllib3 is another library.

        Args:
            verify, cert: as for `Trust`.
            max_connections: the most to one host, at most half of the files that the process may open; a thread that
                needs one more waits.
        """
        check_urllib3()
        hide_queries()
        self._proxies = Proxies() or None
        self._trust = Trust(verify, cert)
        self._connections = connection_limit(max_connections)
        self._making = threading.Lock()
        self._open()

    async def send(self, request: Request) -> Response:
        """The answer, its body read whole unless the request asks for a stream; DoubleOError where there is none."""
        if self._pid != os.getpid():
            # The parent's sockets: two processes on one would read each other's answers.
            self._making = threading.Lock()
            self._open()
        now = time.monotonic()
        until, limit = limits(request, now)
        thread.exchange = exchange = Exchange(until)
        proxy = self._proxy_for(request.url, exchange) if self._proxies or SUFFIX in request.url else None
        proxies = {"http": proxy, "https": proxy} if proxy else None
        while True:
            try:
                thread.sending = True
                answer = self._adapter.send(
                    _prepared(request, exchange), stream=True, timeout=until - now, verify=True, proxies=proxies
                )
            except Exception as error:
                unread = unsent(request.body)
                if unread is None and not isinstance(error, _ERRORS):
                    raise
                if unread is None and is_closed_connection(error) and exchange.renew(request, now):
                    continue
                failure = unread or on_the_way(_translated(error, limit), request, proxy)
                break
            finally:
                thread.sending = False
            return await self._response(answer, request, _Source(answer.raw, exchange, request, limit, proxy))
        # Outside the except: the foreign error holds the request, and so the token, and must not become the
        # context.
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    async def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    async def _response(self, answer: Answer, request: Request, source: _Source) -> Response:
        try:
            if source.proxy is not None and answer.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                raise on_the_way(proxy_refusal(answer.status_code), request, source.proxy)
            headers = Headers(answer.raw.headers.items())
            framing = Framing(answer.raw.headers.getlist)
            if request.stream_response:
                return Response(answer.status_code, headers, request=request, stream=streamed(source, framing))
            body = await whole(source, framing, request.max_body_bytes)
            return Response(answer.status_code, headers, body, request=request)
        except BaseException:  # interrupted too: the rest of the answer is on its connection
            source.abort()
            raise

    def _open(self) -> None:
        with self._making:
            self._adapter = Adapter(self._trust, self._connections)
            self._pid = os.getpid()

    def _proxy_for(self, text: str, exchange: Exchange) -> str | None:
        if text.startswith(UNIX):
            return None
        url = urlsplit(text)
        host = url.hostname or ""
        if is_localhost_name(host):
            with suppress(OSError):  # the connection will not be had either
                addresses = resolve(host, url.port or 0, exchange.left, local=False)
                if is_here(host, [address[4][0] for address in addresses], url.scheme):
                    return None
        return self._proxies.of(url.scheme, host, url.port) if self._proxies else None


class _Source:
    """The bytes of an answer of urllib3's."""

    __slots__ = ("_exchange", "_limit", "_raw", "_request", "_streaming", "proxy")
    over = False  # http.client closes an answer only when it is read past its end

    def __init__(self, raw: Any, exchange: Exchange, request: Request, limit: str, proxy: str | None) -> None:
        self._raw = raw
        self._exchange = exchange
        self._request = request
        self._limit = limit
        self._streaming = request.stream_response and is_streaming(request, raw.status)
        self.proxy = proxy

    async def read(self) -> bytes:
        if self._streaming:
            # A whole body has what its attempt has left; a stream only must not stall.
            self._exchange.until, self._limit = limits(self._request, time.monotonic())
        try:
            data: bytes = self._raw.read1(CHUNK, decode_content=False)
            return data
        except _ERRORS as error:
            failure = on_the_way(_translated(error, self._limit), self._request, self.proxy)
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    def release(self) -> None:
        self._raw.release_conn()

    def abort(self) -> None:
        self._raw.close()
        self._raw.release_conn()


def _prepared(request: Request, exchange: Exchange) -> PreparedRequest:
    # Filled in by hand: the URL is built and checked already, and `prepare()` would take it apart again.
    prepared = PreparedRequest()
    prepared.method = request.method
    prepared.url = as_http(request.url) if request.url.startswith(UNIX) else request.url
    body = request.body
    prepared.body = iterate_sync(_in_time(body, exchange)) if isinstance(body, Body) else body  # type: ignore[assignment]  # the adapter sends an iterator as it comes
    # http.client writes text as Latin-1, so this comes out as UTF-8. A CaseInsensitiveDict would drop a repeated field.
    headers = HTTPHeaderDict()
    for name, value in validated_headers(request.headers):
        headers.add(name, value if value.isascii() else value.encode().decode("latin-1"))
    if request.url.startswith(UNIX):
        headers["Host"] = HOST
    headers.setdefault("Accept-Encoding", ACCEPT_ENCODING)
    headers.setdefault("User-Agent", SKIP_HEADER)
    length = body.length if isinstance(body, Body) else None if body is None else len(body)
    if length is not None:
        headers["Content-Length"] = str(length)
    elif body is not None:
        pass  # the adapter sends what has no length in chunks
    elif request.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = "0"
    prepared.headers = headers  # type: ignore[assignment]  # a mapping without case is all that the adapter asks for
    prepared._cookies = None  # type: ignore[attr-defined]  # requests' own, which its stubs leave out
    return prepared


async def _in_time(body: Body, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    async for piece in outgoing(body):
        exchange.left()  # a socket's timeout bounds one piece, not all of them
        yield piece


def _translated(error: Exception, limit: str) -> DoubleOError:
    for cause in causes(error):
        # A thread waited in vain for one of the pool's connections.
        if isinstance(cause, (TimeoutError, Timeout, EmptyPoolError)):
            return timed_out(limit)
        if isinstance(cause, ClosedPoolError):
            return closed()
        if (status := refused_tunnel(cause)) is not None:
            return proxy_refusal(status)
    # requests' own exceptions are OSErrors, and some of them ValueErrors too.
    if isinstance(error, (InvalidHeader, ValueError)):
        return invalid_http()
    return network_error(error)


class Adapter(HTTPAdapter):
    """requests' adapter over these pools, the way through a proxy included."""

    def __init__(self, trust: Trust, connections: int) -> None:
        self._trust = trust
        super().__init__(pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._trust.context
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def close(self) -> None:
        # urllib3 closes a pool when nobody holds it any more; a thread that waits for a connection does.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # it cannot be iterated
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()

    def build_connection_pool_key_attributes(self, request: PreparedRequest, *_verify: Any, **_cert: Any) -> Any:
        url = urlsplit(request.url or "")
        host = {"scheme": url.scheme, "host": url.hostname, "port": url.port}
        if url.scheme != "https":
            return host, {}
        context = self._trust.context
        tls = {"ssl_context": context, "cert_reqs": context.verify_mode}
        # Whether a host's name counts is for the context to say, as it is in asyncio.
        return host, tls if context.check_hostname else {**tls, "assert_hostname": False}

    def cert_verify(self, *args: Any) -> None:
        # Its own has certifi's file read again for each connection.
        pass

    def build_response(self, req: PreparedRequest, resp: Any) -> Answer:
        # Its own reads the cookies and the charset, which are not used here: a server could make it stumble over them.
        answer = Answer()
        answer.status_code, answer.raw, answer.request = resp.status, resp, req
        return answer


def refused_tunnel(error: BaseException) -> int | None:
    """The status with which a proxy refused a tunnel, where an error says so."""
    match = _REFUSED.match(str(error)) if isinstance(error, OSError) else None
    return int(match[1]) if match else None


class _WithoutQueries(logging.Filter):
    """Takes the query out of the URLs that urllib3 logs: it may hold what nobody else should read."""

    def filter(self, record: logging.LogRecord) -> bool:
        if thread.sending and isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


_FILTER = _WithoutQueries()


def hide_queries() -> None:
    """Have urllib3's loggers leave out the queries of this library's requests, and of no other's."""
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_FILTER)
