"""HTTP/1.1 over urllib3's connections: each exchange within its time, and each answer read as RFC 9112 has it.

A socket's own timeout bounds one `recv`, so a server that sends a byte now and then holds a call for ever. http.client
reads the status line, the headers and the body from `sock.makefile("rb")`. TimedSocket gives it a file that asks before
every `recv` how much time is left. No watchdog thread is needed.

http.client takes the end of the connection for the end of the headers, stops reading them at a line that is none,
shows a 103 as the answer, and reads sizes with `int`: what was cut short or tampered with can look whole.
StrictResponse refuses that, as aiohttp's parser does.

What this leans on inside urllib3 and http.client; `requests.py` has a table for the adapter:

| name | why |
|---|---|
| urllib3 `HTTPConnection._new_conn`, `_dns_host`, `port` | one limit for all addresses of a host, which are raced |
| urllib3 `HTTPConnection.sock`, `request`, `close` | a kept connection is known, and gets this exchange's time |
| urllib3 `HTTPConnection.send` | an answer that comes early ends the sending |
| urllib3 `HTTPConnection.is_connected` | a stale connection is not taken again |
| urllib3 `HTTPSConnection.connect`, ssl `suppress_ragged_eofs` | an answer without a length ends with close_notify |
| urllib3 `HTTPSConnection.is_verified` | an SSLContext of the caller's own that trusts anyone is no news |
| urllib3 `HTTPConnection.response_class`, called with a socket | the answer is read strictly and in time |
| urllib3 `HTTPConnectionPool.ConnectionCls` | the pool makes connections that keep to an exchange's time |
| urllib3 `HTTPConnectionPool._get_conn` | a thread waits for a connection no longer than its exchange may take |
| urllib3 `util.ssl_.is_ipaddress` | an address needs no name server |
| http.client `HTTPResponse.begin`, `_read_status`, `_get_chunk_left` | the parts that are too tolerant are read here |
| its `_method`, `_check_close`, `_safe_read`, `_close_conn` | the parts that are not are used |
| its `fp` (`peek`, `readline`), `chunked`, `chunk_left`, `length`, `will_close` | what its `read1` goes by |
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import threading
import time
from http import client
from http.client import HTTPException, HTTPMessage, HTTPResponse, RemoteDisconnected
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import EmptyPoolError, NewConnectionError
from urllib3.util.ssl_ import is_ipaddress

from .._http.headers import field_text
from .._http.request import Request
from .connecting import connect, resolve
from .exchange import is_repeatable, note_resent, send_until_answered
from .strict_http import FIELD, LONGEST_LINE, MOST_FIELDS, SIZE, STATUS
from .unix_sockets import socket_of

_LOOK = 0.2  # seconds after which who waits for a connection looks whether the pool was closed
_UNWATCHED = 64 << 10  # bytes of a request that are sent without looking for an early answer


class Exchange:
    """A request that is sent, and its answer. Both must be over by `until`, an instant of the monotonic clock,
    which may be moved. `fresh` asks for a new connection. `reused` tells whether a kept connection was used,
    `answered` whether a byte came back."""

    __slots__ = ("answered", "fresh", "reused", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.fresh = self.reused = self.answered = False

    def left(self) -> float:
        """Seconds left. Raises TimeoutError at zero, since recv with timeout 0 still returns buffered bytes."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def renew(self, request: Request, began: float) -> bool:
        """Whether a request whose connection was lost is to be sent once more, over a new one: a kept connection may
        have been closed as the request went out (RFC 9112, 9.3.1). The timeline notes it."""
        if self.fresh or not self.reused or self.answered or not is_repeatable(request):
            return False
        self.fresh, self.reused = True, False
        note_resent(request, began)
        return True


class _Current(threading.local):
    exchange = Exchange(float("inf"))
    sending = False


thread = _Current()
"""`thread.exchange` is this thread's exchange; `thread.sending` is true until the answer's head has come."""


class TimedSocket:
    """The part of a socket that http.client's response uses. `early` holds bytes of the answer that were read
    already."""

    def __init__(self, sock: socket.socket, exchange: Exchange, early: bytes = b"") -> None:
        self._sock = sock
        self._exchange = exchange
        self._early = early

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._sock, self._exchange, self._early))


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, exchange: Exchange, early: bytes) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._exchange = exchange
        self._early = early

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        self._sock.settimeout(exchange.left())
        if self._early:
            size = min(len(buffer), len(self._early))
            buffer[:size], self._early = self._early[:size], self._early[size:]
            return size
        received = self._file.readinto(buffer)
        if received:
            exchange.answered = True
        return received

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class StrictResponse(HTTPResponse):
    """An answer as urllib3 reads it. HTTPException where it is not HTTP, RemoteDisconnected where it breaks off. With
    `must_close` its connection is not kept."""

    must_close = False

    def begin(self) -> None:
        version, self.status, self.reason = self._read_status()
        self.code = self.status
        self.version = 10 if version == "HTTP/1.0" else 11
        self.headers = self.msg = message = self._fields()
        empty = self.status < 200 or self.status in (204, 304) or self._method == "HEAD"  # type: ignore[attr-defined]  # http.client's own
        self.chunked = not empty and message.get("Transfer-Encoding", "").lower() == "chunked"
        self.chunk_left: int | None = None
        length = message.get("Content-Length", "")
        self.length = 0 if empty else int(length) if re.fullmatch("[0-9]{1,18}", length) and not self.chunked else None
        endless = self.length is None and not self.chunked
        self.will_close = endless or self.must_close or self._check_close()  # type: ignore[attr-defined]  # http.client's own

    def _read_status(self) -> tuple[str, int, str]:
        # A tunnel through a proxy is opened with this alone.
        while True:
            start = self.fp.peek(1)[:5]
            if not b"HTTP/".startswith(start):
                # Before the line is read: it may have no end.
                raise HTTPException("no status line")
            match = STATUS.fullmatch(self._line())
            if match is None:
                raise HTTPException("no status line")
            status = int(match[2])
            if status >= 200 or status == 101:
                return match[1], status, match[3] or ""
            # RFC 9110, 15.2: an interim answer may be ignored.
            self._fields()

    def _fields(self) -> HTTPMessage:
        pairs: list[tuple[str, str]] = []
        while (line := self._line()) not in ("\r\n", "\n"):
            match = FIELD.fullmatch(line)
            if match is not None and len(pairs) < MOST_FIELDS:
                value = match[2].strip(" \t")
                pairs.append((match[1], value if value.isascii() else field_text(value, "latin-1")))
            elif line[0] in " \t" and pairs and len(pairs[-1][1]) < LONGEST_LINE:
                # RFC 9112, 5.2: a folded field is one line.
                pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
            else:
                raise HTTPException("no header field")
        message = HTTPMessage()
        for name, value in pairs:
            message[name] = value
        return message

    def _get_chunk_left(self) -> int | None:
        if not self.chunk_left:
            if self.chunk_left is not None and self._safe_read(2) != b"\r\n":  # type: ignore[attr-defined]  # http.client's own
                raise HTTPException("no end of chunk")
            size = SIZE.fullmatch(self._line())
            if size is None:
                raise HTTPException("no chunk size")
            self.chunk_left = int(size[1], 16)
            if not self.chunk_left:
                self._fields()
                self._close_conn()  # type: ignore[attr-defined]  # http.client's own
                self.chunk_left = None
        return self.chunk_left

    def _line(self) -> str:
        line = self.fp.readline(LONGEST_LINE + 1)
        if line.endswith(b"\n"):
            return line.decode("latin-1")
        if len(line) > LONGEST_LINE:
            raise HTTPException("an endless line")
        raise RemoteDisconnected("the connection ended within a line")


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
            self._early = send_until_answered(sock, data, thread.exchange.left)
            if self._early is not None:
                thread.exchange.answered = bool(self._early)
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


def check_urllib3() -> None:
    """ImportError where another library stands under urllib3's name: these connections would not be in use, and so no
    limit of time or of form would hold."""
    if not issubclass(HTTPConnection, client.HTTPConnection):
        raise ImportError(
            "the module urllib3 is another library's (urllib3-future, which niquests installs, takes its name), and "
            "Client cannot bound its answers: use AsyncClient, or an environment without it"
        )
