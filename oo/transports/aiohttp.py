"""AiohttpTransport: the transport of an event loop, over aiohttp."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from ._aiohttp_patches import (
    Connector,
    check_tunnel,
    connection_reset,
    fresh,
    goes_without_session,
    is_stale,
    session_over,
)

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

from .._core.pipeline import run_sync
from .._http.body import Body
from .._http.headers import Headers, field_text, validated_headers
from .._http.request import Request, limits
from .._http.response import Response
from .._http.urls import UNIX, address, is_localhost_name
from ..exceptions import DoubleOError
from .aiohttp_errors import ERRORS, UNCONNECTED, translated
from .direct import Answer, exchange, message_of
from .exchange import (
    MAX_CONNECTIONS,
    connection_limit,
    is_repeatable,
    is_streaming,
    note_resent,
)
from .localhost_names import SUFFIX, is_here
from .network_errors import invalid_http, network_error, on_the_way, proxy_refusal
from .proxy_env import Proxies
from .reader import Framing, streamed, unsent, whole
from .strict_http import MOST_FIELDS
from .trust import Certificate, Trust, Verify
from .unix_sockets import HOST, as_http, socket_of
from .uploads import Data, uploaded, whole_data

_EXACT = float("inf")  # aiohttp rounds long timeouts up to a whole second unless told where to begin with that
_NO_TYPE = (hdrs.CONTENT_TYPE,)  # what the body is, is for the request to say
_TYPED = frozenset({"DELETE", "PATCH", "POST", "PUT"})  # methods whose lack of a body aiohttp gives a type as well
_VERSIONS = (aiohttp.HttpVersion11, aiohttp.HttpVersion10, None)  # None: that of an answer made up by a test


class AiohttpTransport:
    """Keeps one aiohttp session for each event loop it is used from.

    No redirects, no cookies, no netrc; proxies and certificates are read from the environment once. A request whose
    kept connection was closed under it is sent once more where that is safe.
    """

    def __init__(
        self,
        *,
        verify: Verify = None,
        cert: Certificate = None,
        max_connections: int = MAX_CONNECTIONS,
        resolver: AbstractResolver | None = None,
        streamless: int = -1,
        connect_timeout: float | None = None,
    ) -> None:
        """Make one.

        Args:
            verify, cert: as for `Trust`.
            max_connections: the most that a loop uses at once, at most half of the files that the process may open; a
                task that needs one more waits.
            resolver: finds the addresses of host names instead of the system's.
            streamless: an answer of up to so many bytes that comes in one piece has its body at once, and no stream,
                where one was asked for as well.
            connect_timeout: seconds for a connection to be made; unless told, as long as the attempt may take.
        """
        self._trust = Trust(verify, cert)
        self._connections = connection_limit(max_connections)
        self._resolver = resolver
        self._streamless = streamless
        self._connect_timeout = connect_timeout
        self._proxies = Proxies() or None
        self._kept: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None, None]]] = {}
        self._last: tuple[asyncio.AbstractEventLoop | None, aiohttp.ClientSession | None] = (None, None)

    async def send(self, request: Request) -> Response:
        """The answer, its body read whole unless the request asks for a stream; DoubleOError where there is none."""
        now = time.monotonic()
        until, limit = limits(request, now)
        session = answer = proxy = None
        try:
            url, session = url_of(request.url), self._session()
            if self._proxies or SUFFIX in request.url:
                async with timeout(until - now):
                    proxy = await self._proxy_for(url)
                check_tunnel(url, proxy)
                if session.closed:  # meanwhile
                    raise aiohttp.ClientConnectionError
            try:
                answer = await self._begin(session, request, url, proxy, until)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not is_stale(error) or session.closed or not is_repeatable(request):
                    raise
            if answer is None:
                note_resent(request, now)
                before = fresh.set(True)
                try:
                    answer = await self._begin(session, request, url, proxy, until)
                finally:
                    fresh.reset(before)
            return await self._response(Source(answer, request, (until, limit), session, proxy))
        except BaseException as error:  # cancelled too: the rest of the answer is on its connection
            if answer is not None:
                answer.close()
            if not isinstance(error, ERRORS):
                raise
            failure = unsent(request.body) or on_the_way(translated(error, limit, session), request, proxy)
            failure.unsent = isinstance(error, UNCONNECTED)
        # Out here: the foreign error holds the request and so the token, and must not become the context.
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    async def _begin(
        self, session: aiohttp.ClientSession, request: Request, url: URL, proxy: str | None, until: float
    ) -> Answer | aiohttp.ClientResponse:
        tls = url.scheme == "https" or (proxy is not None and proxy.startswith("https:"))
        context = self._trust.of(request) if tls else True
        connecting = _timeout(self._connect_timeout)
        left, body, fields = until - time.monotonic(), request.body, fields_of(request)
        connector = session.connector
        if proxy is None and isinstance(connector, Connector) and goes_without_session():
            message = message_of(request.method, url, fields, body)
            if message is not None:
                return await exchange(connector, url, message, left, connecting, context, request.method != "HEAD")

        def sent(data: Data) -> Awaitable[aiohttp.ClientResponse]:
            return session.request(
                request.method,
                url,
                data=data,
                headers=fields,
                skip_auto_headers=_NO_TYPE if body is not None or request.method in _TYPED else None,
                allow_redirects=False,
                proxy=proxy,
                timeout=connecting,
                ssl=context,
            )

        if request.stream_response and isinstance(body, Body):
            return await uploaded(request, body, left, sent)
        async with timeout(left):
            return await sent(whole_data(body))

    async def _response(self, source: Source) -> Response:
        answer, request, proxy = source.answer, source.request, source.proxy
        if proxy is not None and answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise on_the_way(proxy_refusal(answer.status), request, proxy)
        if answer.status < 100 or answer.version not in _VERSIONS:
            raise invalid_http()
        headers, framing = _headers(answer.headers), Framing(lambda name: answer.headers.getall(name, ()))
        most = self._streamless if request.stream_response else request.max_body_bytes
        if _is_here(answer.content, framing, most):
            body = answer.content.read_nowait()
            if not answer.closed:
                answer.release()
            return Response(answer.status, headers, body, request=request)
        if request.stream_response:
            return Response(answer.status, headers, request=request, stream=streamed(source, framing))
        return Response(answer.status, headers, await whole(source, framing, request.max_body_bytes), request=request)

    async def _proxy_for(self, url: URL) -> str | None:
        host = url.host or ""
        if socket_of(host) is not None:
            return None
        if is_localhost_name(host):
            with suppress(OSError):  # the connection will not be had either
                found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
                if is_here(host, [str(address[4][0]) for address in found], url.scheme):
                    return None
        return self._proxies.of(url.scheme, host, url.port) if self._proxies else None

    async def close(self) -> None:
        """Close this loop's session, and those of loops that have ended."""
        self._forget_ended()
        kept = self._kept.get(asyncio.get_running_loop())
        if kept is not None:
            await kept[1].aclose()

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        last, session = self._last
        if last is loop and session is not None:
            return session
        kept = self._kept.get(loop)
        if kept is None:
            self._forget_ended()
            session = self._made(loop)
            keeping = self._keeping(loop, session)
            run_sync(keeping.__anext__())
            kept = self._kept[loop] = (session, keeping)
        self._last = (loop, kept[0])
        return kept[0]

    def _made(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        # The system's, though another library for it may be installed: both transports find the same addresses.
        resolver = self._resolver or aiohttp.ThreadedResolver(loop)
        connector = Connector(limit=self._connections, resolver=resolver, timeout_ceil_threshold=_EXACT)
        session = session_over(connector)
        # aiohttp sends a PUT or DELETE again too, without a word.
        session._retry_connection = False
        return session

    async def _keeping(
        self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession
    ) -> AsyncGenerator[None, None]:
        # A loop that ends in order, as asyncio.run's does, closes the generators that were begun on it.
        try:
            yield
        finally:
            self._forget(loop)
            await session.close()

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._kept.pop(loop, None)
        if self._last[0] is loop:
            self._last = (None, None)

    def _forget_ended(self) -> None:
        for loop, (session, _) in list(self._kept.items()):
            if loop.is_closed():
                self._forget(loop)
                if session.connector is not None:
                    session.connector._close()


class Source:
    """The bytes of an answer of aiohttp's, which must be here within an instant, or the limit that it is named by."""

    __slots__ = ("_session", "_within", "answer", "proxy", "request")

    def __init__(
        self,
        answer: Answer | aiohttp.ClientResponse,
        request: Request,
        within: tuple[float, str],
        session: aiohttp.ClientSession,
        proxy: str | None,
    ) -> None:
        self.answer = answer
        self.request = request
        self.proxy = proxy
        self._within = within
        self._session = session

    @property
    def over(self) -> bool:
        return self.answer.content.at_eof()

    async def read(self) -> bytes:
        content, (until, limit) = self.answer.content, self._within
        try:
            if is_streaming(self.request, self.answer.status):
                # A stream takes as long as it takes, but must not stall.
                until, limit = limits(self.request, time.monotonic())
            data = content.read_nowait()
            if not data and not content.is_eof():
                async with timeout(until - time.monotonic()):
                    data = await content.readany()
            if data or not (lost := connection_reset(self.answer)):
                return data
            failure = network_error(lost)
        except ERRORS as error:
            failure = translated(error, limit, self._session)
        raise on_the_way(failure, self.request, self.proxy)

    def release(self) -> None:
        self.answer.release()

    def abort(self) -> None:
        self.answer.close()


def _is_here(content: aiohttp.StreamReader, framing: Framing, limit: int) -> bool:
    # As most bodies are: they come with their headers.
    length = framing.length
    return length is not None and length <= limit and framing.encoding == "identity" and content.is_eof()


@lru_cache(256)
def url_of(text: str) -> URL:
    """The URL of a request, as aiohttp takes it."""
    return _with_canonical_host(URL(as_http(text), encoded=True))


def _with_canonical_host(url: URL) -> URL:
    """The URL; its host, where that is an IPv4 address in a form that the C library alone takes (127.1), in the one
    that aiohttp takes as well."""
    host = url.raw_host or ""
    ip = None if ":" in host else address(host)
    return url if ip is None or str(ip) == host else url.with_host(str(ip))


@lru_cache(64)
def _timeout(connect: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, ceil_threshold=_EXACT)


def fields_of(request: Request) -> Sequence[tuple[str, str]]:
    """The fields of a request, checked, with those of its connection."""
    fields, body = validated_headers(request.headers), request.body
    if request.url.startswith(UNIX):
        fields = (*fields, ("Host", HOST))
    if isinstance(body, Body) and body.length is not None:
        return (*fields, ("Content-Length", str(body.length)))
    return fields


def _headers(came: Mapping[str, str]) -> Headers:
    if len(came) > MOST_FIELDS:
        raise DoubleOError("the answer has too many headers", reason="protocol")
    if "".join(came.values()).isascii():
        return Headers(tuple(came.items()))
    return Headers([(name, field_text(value)) for name, value in came.items()])
