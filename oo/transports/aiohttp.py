"""AiohttpTransport: the transport of an event loop, over aiohttp."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import weakref
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from .._io import LoopIO
from .._messages import Headers, Request, Response
from ..exceptions import DoubleOError
from ._body import ACCEPT_ENCODING, Decoder, declared
from ._edge import Proxies, broken, nonsense, time_left, timed_out


class AiohttpTransport:
    """Keeps one aiohttp session for each event loop it is used from.

    No redirects, no cookies, no netrc, nothing sent twice; proxies and SSL_CERT_FILE are read from the environment.
    """

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of host names instead of the system's."""
        self.io = LoopIO()
        self._resolver = resolver
        self._proxies = Proxies()
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]
        self._sessions = weakref.WeakKeyDictionary()

    async def send(self, request: Request) -> Response:
        """The answer, its body read whole; DoubleOError where there is none."""
        seconds, limit = time_left(request, time.monotonic())
        url = URL(request.url, encoded=True)
        try:
            async with self._session().request(
                request.method,
                url,
                data=request.body,
                headers=_headers(request),
                allow_redirects=False,
                proxy=self._proxies.of(url.scheme, url.host or ""),
                # aiohttp rounds long timeouts up to a whole second unless told where to begin with that.
                timeout=aiohttp.ClientTimeout(total=seconds, ceil_threshold=float("inf")),
            ) as answer:
                return await _read(answer, request)
        except DoubleOError as error:
            failure = error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            failure = _translated(error, limit)
        # Out here: the foreign error holds the request and so the token, and must not become the context.
        raise failure

    async def close(self) -> None:
        """Close this loop's session, and those of loops that have ended."""
        here = asyncio.get_running_loop()
        for loop, session in list(self._sessions.items()):
            if loop is here:
                await session.close()
            elif loop.is_closed() and session.connector is not None:
                session.connector._close()
            else:
                continue
            del self._sessions[loop]

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            session = self._sessions[loop] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver, ssl=_trust()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                middlewares=(_once,),
                skip_auto_headers=("User-Agent", "Content-Type"),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return session


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # aiohttp sends an idempotent request again when a kept-alive connection turns out to be closed; how often a
    # request is sent is for Retry to say. It does so only for its own errors.
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        failure = broken(error)
    raise failure


async def _read(answer: aiohttp.ClientResponse, request: Request) -> Response:
    headers = Headers(answer.headers.items())
    if declared(headers) is not None and "Transfer-Encoding" in headers:
        # RFC 9112, 6.1: both framings at once is how answers are smuggled.
        raise nonsense()
    decoder = Decoder(headers, request.limit)
    parts = [decoder.feed(chunk) async for chunk in answer.content.iter_any()]
    decoder.finish()
    return Response(answer.status, headers, b"".join(parts), request=request)


def _headers(request: Request) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers.pairs())
    headers.setdefault("Accept-Encoding", ACCEPT_ENCODING)
    headers.setdefault("Accept", "*/*")
    return headers


def _translated(error: BaseException, limit: str) -> DoubleOError:
    if isinstance(error, asyncio.TimeoutError):
        return timed_out(limit)
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL, ValueError)):
        return nonsense()
    return broken(error)


def _trust() -> Any:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle) if bundle else True
