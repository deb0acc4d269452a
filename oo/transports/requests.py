"""RequestsTransport: the blocking transport, over the pools of requests' adapter (`adapter.py`).

What this leans on; `adapter.py` has a table for the adapter, `_urllib3_patches.py` one for the connections:

| name | why |
|---|---|
| urllib3 loggers `urllib3.connection`, `urllib3.connectionpool` | no query in what they log |
| http.client `HTTPConnection._tunnel`: the text of its OSError | which status a proxy refused a tunnel with |
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from requests.exceptions import InvalidHeader, RequestException, Timeout
from urllib3.exceptions import ClosedPoolError, EmptyPoolError, HTTPError
from urllib3.exceptions import InvalidHeader as HTTPInvalidHeader

from .._http.headers import Headers
from .._http.request import Request, limits, timed_out
from .._http.response import Response
from .._http.urls import UNIX, is_localhost_name
from ..exceptions import DoubleOError
from ._urllib3_patches import Exchange, check_urllib3, thread
from .adapter import Adapter
from .connecting import resolve
from .exchange import MAX_CONNECTIONS, connection_limit, is_streaming
from .localhost_names import SUFFIX, is_here
from .network_errors import causes, closed, invalid_http, is_closed_connection, network_error, on_the_way, proxy_refusal
from .proxy_env import Proxies
from .reader import CHUNK, Framing, streamed, unsent, whole
from .trust import Certificate, Trust, Verify

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
                answer = self._adapter.answer(request, exchange, until - now, proxies)
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
            return await self._response(answer, request, _Source(answer, exchange, request, limit, proxy))
        # Outside the except: the foreign error holds the request, and so the token, and must not become the
        # context.
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    async def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    async def _response(self, answer: Any, request: Request, source: _Source) -> Response:
        try:
            if source.proxy is not None and answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                raise on_the_way(proxy_refusal(answer.status), request, source.proxy)
            headers = Headers(answer.headers.items())
            framing = Framing(answer.headers.getlist)
            if request.stream_response:
                return Response(answer.status, headers, request=request, stream=streamed(source, framing))
            body = await whole(source, framing, request.max_body_bytes)
            return Response(answer.status, headers, body, request=request)
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
    if isinstance(error, (InvalidHeader, HTTPInvalidHeader, ValueError)):
        return invalid_http()
    return network_error(error)


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
