"""RequestsTransport: the blocking transport, over requests' adapter."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests import Response as Answer
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, RequestException, Timeout
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import ProxyManager
from urllib3.util import SKIP_HEADER

from .._core.pipeline import iterate_sync
from .._http.body import Body
from .._http.headers import Headers, validated_headers
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError
from ._urllib3_patches import POOLS, Deadline, thread_deadline
from .limits import is_streaming, limits, timed_out
from .network_errors import causes, invalid_http, network_error, tls_error
from .proxy_env import Proxies
from .reader import ACCEPT_ENCODING, CHUNK, Framing, outgoing, streamed, unsent, whole
from .trust import ca_bundle

_POOL = 1024  # connections kept for each host: no thread has to open its own anew
_ERRORS = (RequestException, HTTPError, OSError, ValueError)
_TIMEOUTS = (TimeoutError, Timeout)


class RequestsTransport:
    """Sends a prepared request straight through one pool of connections.

    No redirects, no cookies, no netrc; proxies and REQUESTS_CA_BUNDLE are read from the environment once. Safe to
    share between threads, and made anew after a fork.
    """

    def __init__(self) -> None:
        self._proxies = Proxies()
        self._verify = ca_bundle() or True
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
        thread_deadline.clock = clock = Deadline(until)
        try:
            answer = self._adapter.send(
                _prepared(request, clock),
                stream=True,
                timeout=until - now,
                verify=self._verify,
                proxies=self._proxies_for(request.url),
            )
        except Exception as error:
            unread = unsent(request.body)
            if unread is None and not isinstance(error, _ERRORS):
                raise
            failure = unread or _translated(error, limit)
        else:
            source = _Source(answer.raw, clock, request, limit)
            try:
                headers = Headers(answer.raw.headers.items())
                framing = Framing(headers.get_all)
                if request.stream_response:
                    return Response(answer.status_code, headers, request=request, stream=streamed(source, framing))
                body = await whole(source, framing, request.max_body_bytes)
                return Response(answer.status_code, headers, body, request=request)
            except BaseException:
                source.abort()
                raise
        # Out here: the foreign error holds the request and so the token, and must not become the context.
        raise failure

    async def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _open(self) -> None:
        with self._making:
            self._adapter = _Adapter(pool_maxsize=_POOL)
            self._pid = os.getpid()

    def _proxies_for(self, url: str) -> dict[str, str] | None:
        if not self._proxies:
            return None
        parts = urlsplit(url)
        proxy = self._proxies.of(parts.scheme, parts.hostname or "")
        return {parts.scheme: proxy} if proxy else None


class _Adapter(HTTPAdapter):
    """requests' adapter over connections that keep to a clock, the way through a proxy included."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = POOLS
        return manager

    def build_response(self, req: PreparedRequest, resp: Any) -> Answer:
        # Its own reads the cookies and the charset, which are not used here: a server could make it stumble over them.
        answer = Answer()
        answer.status_code, answer.raw, answer.request = resp.status, resp, req
        return answer


class _Source:
    """The bytes of an answer of urllib3's."""

    __slots__ = ("_clock", "_limit", "_raw", "_request")
    over = False  # http.client closes an answer only when it is read past its end

    def __init__(self, raw: Any, clock: Deadline, request: Request, limit: str) -> None:
        self._raw = raw
        self._clock = clock
        self._request = request
        self._limit = limit

    async def read(self) -> bytes:
        if is_streaming(self._request, self._raw.status):
            # A whole body has what its attempt has left; a stream only must not stall.
            self._clock.until, self._limit = limits(self._request, time.monotonic())
        try:
            data: bytes = self._raw.read1(CHUNK, decode_content=False)
            return data
        except _ERRORS as error:
            failure = _translated(error, self._limit)
        raise failure

    def release(self) -> None:
        self._raw.release_conn()

    def abort(self) -> None:
        self._raw.close()
        self._raw.release_conn()


def _prepared(request: Request, deadline: Deadline) -> PreparedRequest:
    # Filled in by hand: the URL is built and checked already, and `prepare()` would take it apart again.
    prepared = PreparedRequest()
    prepared.method = request.method
    prepared.url = request.url
    body = request.body
    prepared.body = iterate_sync(_in_time(body, deadline)) if isinstance(body, Body) else body  # type: ignore[assignment]  # the adapter sends an iterator as it comes
    # http.client writes text as Latin-1, so this comes out as UTF-8. A CaseInsensitiveDict would drop a repeated field.
    headers = HTTPHeaderDict(
        [
            (name, value if value.isascii() else value.encode().decode("latin-1"))
            for name, value in validated_headers(request.headers)
        ]
    )
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


async def _in_time(body: Body, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    async for piece in outgoing(body):
        deadline.left()  # a socket's timeout bounds one piece, not all of them
        yield piece


def _translated(error: Exception, limit: str) -> DoubleOError:
    if any(isinstance(cause, _TIMEOUTS) for cause in causes(error)):
        return timed_out(limit)
    if type(error) is OSError:
        # The adapter looks for the file before anything else, and finds none.
        return tls_error()
    # requests' own exceptions are OSErrors, and some of them ValueErrors too.
    if isinstance(error, (InvalidHeader, ValueError)):
        return invalid_http()
    return network_error(error)
