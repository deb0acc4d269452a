"""requests' adapter over our pools of urllib3's connections.

A request without a proxy goes to its pool at once: the adapter's own step between is a fifth of a call. It takes that
where a proxy is between, or where another stands in the place of `HTTPAdapter.send`, as a mock does.

What this leans on inside the adapter and its manager of pools:

| name | why |
|---|---|
| urllib3 `PoolManager.pool_classes_by_scheme` | the adapter makes these pools |
| urllib3 `PoolManager.pools`, requests `HTTPAdapter.proxy_manager` | closing ends the waiting for a connection |
| requests `HTTPAdapter.init_poolmanager`, `proxy_manager_for` | the adapter makes these pools |
| requests `HTTPAdapter.send`, `max_retries` | what it does with a pool is done here |
| its `__globals__` | whether another stands in its place |
| requests `HTTPAdapter.build_response` | no cookies or charsets are looked at |
| requests `HTTPAdapter.request_url` | a target goes as it is |
| requests `HTTPAdapter.build_connection_pool_key_attributes`, `cert_verify` | one SSLContext for all connections |
| requests `PreparedRequest._cookies`, its `headers` of another type | a request is filled in without `prepare()` |
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests import Response as Answer
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict
from urllib3.poolmanager import ProxyManager
from urllib3.util import SKIP_HEADER, Timeout

from .._core.pipeline import iterate_sync
from .._http.body import Body
from .._http.headers import validated_headers
from .._http.request import Request
from .._http.urls import UNIX
from ._urllib3_patches import POOLS, Exchange
from .reader import ACCEPT_ENCODING, outgoing
from .trust import Trust
from .unix_sockets import HOST, as_http

_OWN = vars(sys.modules[HTTPAdapter.__module__])
"""Where requests' own functions look names up. A mock may be in place when this is imported, so that no function can be
kept to compare with."""

Fields: TypeAlias = "dict[str, str] | HTTPHeaderDict"


class Adapter(HTTPAdapter):
    """requests' adapter over these pools, the way through a proxy included."""

    def __init__(self, trust: Trust, connections: int) -> None:
        self._trust = trust
        super().__init__(pool_maxsize=connections, pool_block=True)

    def answer(self, request: Request, exchange: Exchange, within: float, proxies: dict[str, str] | None) -> Any:
        """urllib3's answer."""
        url = as_http(request.url) if request.url.startswith(UNIX) else request.url
        fields, body = _fields(request), request.body
        sent = iterate_sync(_in_time(body, exchange)) if isinstance(body, Body) else body
        if proxies is not None or not _is_own(HTTPAdapter.send):
            prepared = _prepared(request, url, fields, sent)
            return self.send(prepared, stream=True, timeout=within, verify=True, proxies=proxies).raw
        place = _place(url)
        pool = self.poolmanager.connection_from_host(place.host, place.port, place.scheme, self._tls(place.scheme))
        return pool.urlopen(
            request.method,
            place.target,
            sent,
            fields,
            self.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=within, read=within),
            chunked=sent is not None and "Content-Length" not in fields,
            preload_content=False,
            decode_content=False,
        )

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
        place = _place(request.url or "")
        return {"scheme": place.scheme, "host": place.host, "port": place.port}, self._tls(place.scheme)

    def _tls(self, scheme: str) -> dict[str, Any]:
        if scheme != "https":
            return {}
        context = self._trust.context
        tls = {"ssl_context": context, "cert_reqs": context.verify_mode}
        # Whether a host's name counts is for the context to say, as it is in asyncio.
        return tls if context.check_hostname else {**tls, "assert_hostname": False}

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        # requests 2.32.3 takes the first of two slashes away.
        return super().request_url(request, proxies) if proxies else _place(request.url or "").target

    def cert_verify(self, *args: Any) -> None:
        # Its own has certifi's file read again for each connection.
        pass

    def build_response(self, req: PreparedRequest, resp: Any) -> Answer:
        # Its own reads the cookies and the charset, which are not used here: a server could make it stumble over them.
        answer = Answer()
        answer.status_code, answer.raw, answer.request = resp.status, resp, req
        return answer


def _is_own(send: object) -> bool:
    # By its type: wrapt's functions show whatever they wrap has.
    return type(send) is FunctionType and send.__globals__ is _OWN


class _Place(NamedTuple):
    """Where a request goes, and the target of its first line."""

    scheme: str
    host: str | None
    port: int | None
    target: str


@lru_cache(256)
def _place(url: str) -> _Place:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return _Place(parts.scheme, parts.hostname, parts.port, target)


def _prepared(request: Request, url: str, fields: Fields, body: Any) -> PreparedRequest:
    # Filled in by hand: the URL is built and checked already, and `prepare()` would take it apart again.
    prepared = PreparedRequest()
    prepared.method, prepared.url, prepared.body = request.method, url, body
    prepared.headers = HTTPHeaderDict(fields)  # type: ignore[assignment]  # a mapping without case is all that the adapter asks for
    prepared._cookies = None  # type: ignore[attr-defined]  # requests' own, which its stubs leave out
    return prepared


def _fields(request: Request) -> Fields:
    # http.client writes text as Latin-1, so this comes out as UTF-8.
    pairs = [
        (name, value if value.isascii() else value.encode().decode("latin-1"))
        for name, value in validated_headers(request.headers)
    ]
    body, names = request.body, frozenset([name.lower() for name, _ in pairs])
    # Where a dict would do, it takes a third of the time.
    is_plain = len(names) == len(pairs) and names.isdisjoint(("host", "content-length"))
    fields: Fields = dict(pairs) if is_plain else HTTPHeaderDict(pairs)
    if request.url.startswith(UNIX):
        fields["Host"] = HOST
    if "accept-encoding" not in names:
        fields["Accept-Encoding"] = ACCEPT_ENCODING
    if "user-agent" not in names:
        fields["User-Agent"] = SKIP_HEADER
    length = body.length if isinstance(body, Body) else None if body is None else len(body)
    if length is not None:
        fields["Content-Length"] = str(length)
    elif body is None and request.method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = "0"
    return fields  # what has a body and no length goes in chunks


async def _in_time(body: Body, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    async for piece in outgoing(body):
        exchange.left()  # a socket's timeout bounds one piece, not all of them
        yield piece
