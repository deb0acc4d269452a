"""What this library leans on inside urllib3, and in the adapter of requests that drives it.

| name | why |
|---|---|
| urllib3 `HTTPConnection._new_conn`, `_dns_host`, `port` | one limit for all addresses of a host, which are raced |
| urllib3 `HTTPConnection.sock`, `request`, `close` | a kept connection is known, and gets this exchange's time |
| urllib3 `HTTPConnection.send` | an answer that comes early ends the sending |
| urllib3 `HTTPConnection.is_connected` | a stale connection is not taken again |
| urllib3 `HTTPSConnection.connect`, ssl `suppress_ragged_eofs` | an answer without a length ends with close_notify |
| urllib3 `HTTPSConnection.is_verified` | an SSLContext of the caller's own that trusts anyone is no news |
| urllib3 `HTTPConnection.response_class`, called with a socket | the answer is read strictly and in time |
| urllib3 `HTTPConnectionPool.ConnectionCls` | the pool makes these connections |
| urllib3 `HTTPConnectionPool._get_conn` | a thread waits for a connection no longer than its exchange may take |
| urllib3 `PoolManager.pool_classes_by_scheme` | the adapter makes these pools |
| urllib3 `PoolManager.pools`, requests `HTTPAdapter.proxy_manager` | closing ends the waiting for a connection |
| urllib3 `util.ssl_.is_ipaddress` | an address needs no name server |
| urllib3 loggers `urllib3.connection`, `urllib3.connectionpool` | no query in what they log |
| http.client `HTTPConnection._tunnel`: the text of its OSError | which status a proxy refused a tunnel with |
| requests `HTTPAdapter.init_poolmanager`, `proxy_manager_for` | the adapter makes these pools |
| requests `HTTPAdapter.build_response` | no cookies or charsets are looked at |
| requests `HTTPAdapter.build_connection_pool_key_attributes`, `cert_verify` | one SSLContext for all connections |
| requests `PreparedRequest._cookies`, its `headers` of another type | a request is filled in without `prepare()` |
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
from http import client as http_client
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests import Response as Answer
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import EmptyPoolError, NewConnectionError
from urllib3.poolmanager import ProxyManager
from urllib3.util.ssl_ import is_ipaddress

from .connecting import connect, resolve
from .exchange import TimedSocket, send_until_answered, thread
from .strict_http import StrictResponse
from .trust import Trust
from .unix_sockets import socket_of

_UNWATCHED = 64 << 10  # bytes of a request that are sent without looking for an early answer
_LOOK = 0.2  # seconds after which who waits for a connection looks whether the pool was closed
_REFUSED = re.compile("Tunnel connection failed: ([0-9]{3})")


def check_urllib3() -> None:
    """ImportError where another library stands under urllib3's name: these connections would not be in use, and so no
    limit of time or of form would hold."""
    if not issubclass(HTTPConnection, http_client.HTTPConnection):
        raise ImportError(
            "the module urllib3 is another library's (urllib3-future, which niquests installs, takes its name), and "
            "Client cannot bound its answers: use AsyncClient, or an environment without it"
        )


class _Timed:
    debuglevel = 0  # http.client's prints the head of a request, and so the token
    _early: bytes | None = None
    _sent = 0
    _used = False  # whether a request went over this connection before

    def _new_conn(self) -> socket.socket:
        # urllib3 gives each address of a host all of the time, and then the TLS handshake as well.
        host, port, left = self._dns_host, self.port, thread.exchange.left  # type: ignore[attr-defined]  # a connection's
        if (path := socket_of(host)) is None:
            # RFC 6761, 6.3: no name server is asked for localhost.
            addresses = resolve(host, port, left, local=host == "localhost" or is_ipaddress(host))
        else:
            addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]
        try:
            return connect(addresses, left)
        except OSError as error:
            # urllib3 takes a reset for one that came after the request was sent, and then reads from no socket at all.
            raise NewConnectionError(self, "no address answers") from error  # type: ignore[arg-type]  # a connection

    @property
    def is_connected(self) -> bool:
        return not thread.exchange.fresh and super().is_connected  # type: ignore[misc]  # the connection this is mixed into

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = thread.exchange
        sock: socket.socket | None = self.sock  # type: ignore[attr-defined]  # a connection's, None before it is open
        self._early, self._sent = None, 0
        if sock is not None:
            exchange.reused = self._used
            # The last exchange on this connection left what remained of its own time.
            sock.settimeout(exchange.left())
        self._used = True
        super().request(*args, **kwargs)  # type: ignore[misc]  # as above

    def close(self) -> None:
        self._used = False
        super().close()  # type: ignore[misc]  # as above

    def send(self, data: Any) -> None:
        self._sent += len(data)
        sock: object = self.sock  # type: ignore[attr-defined]  # as above
        # TLS within TLS, through a proxy, is no socket that could be watched.
        if self._sent > _UNWATCHED and isinstance(sock, socket.socket):
            self._early = send_until_answered(sock, data, thread.exchange)
            if self._early is not None:
                # urllib3 goes on to read the answer after this error alone.
                raise BrokenPipeError
            return
        try:
            super().send(data)  # type: ignore[misc]  # as above
        except ssl.SSLEOFError:
            raise BrokenPipeError from None

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> StrictResponse:
        timed = TimedSocket(sock, thread.exchange, self._early or b"")
        answer = StrictResponse(timed, *args, **kwargs)  # type: ignore[arg-type]  # http.client only calls makefile
        # The rest of a request that was not sent to its end would be missing before the next one.
        answer.must_close = self._early is not None
        return answer


class _TimedHTTP(_Timed, HTTPConnection):  # type: ignore[misc]  # response_class is a class there, a factory here
    pass


class _TimedHTTPS(_Timed, HTTPSConnection):  # type: ignore[misc]  # as above
    def connect(self) -> None:
        super().connect()
        # The end of the connection without close_notify may be an attacker's (RFC 9112, 9.8).
        self.sock.suppress_ragged_eofs = False  # type: ignore[union-attr]  # a TLS socket
        # Else urllib3 warns of a context that trusts anyone; who made it knows.
        self.is_verified = True


class _WaitingPool:
    """A pool of so many connections: a thread waits for one as long as its exchange may take."""

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ARG002  # the exchange's holds
        wait = 0.0
        while True:
            try:
                return super()._get_conn(wait)  # type: ignore[misc]  # the pool this is mixed into
            except EmptyPoolError:  # noqa: PERF203  # a try a turn
                wait = min(thread.exchange.left(), _LOOK)


class _HTTPPool(_WaitingPool, HTTPConnectionPool):
    ConnectionCls = _TimedHTTP


class _HTTPSPool(_WaitingPool, HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPS


POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
"""urllib3's pools, by scheme, with connections that keep to an exchange's time."""


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
    found = _REFUSED.match(str(error)) if isinstance(error, OSError) else None
    return int(found[1]) if found else None


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
