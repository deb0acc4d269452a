"""Errors of the network and of the HTTP libraries, told as DoubleOErrors in our own words, for both transports."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

from .._http.request import Request
from .._http.urls import DEFAULT_BASE_URL
from ..exceptions import DoubleOError
from .proxy_env import name_of_proxy

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses of a proxy that may be another the next time
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # what OpenSSL says, by its version, where HTTP answers
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


def network_error(error: BaseException) -> DoubleOError:
    """A failure of the network, told in our words: a foreign error's own text may hold a URL, a header or a body."""
    for cause in causes(error):
        # aiohttp's errors of TLS are ssl's by name alone, and wrap one that is ssl's own.
        if isinstance(cause, ssl.SSLError) and isinstance(reason := getattr(cause, "reason", None), str):
            if isinstance(cause, ssl.SSLEOFError):
                break
            if isinstance(cause, ssl.SSLCertVerificationError):
                return tls_error(f"the server's certificate is not trusted: {cause.verify_message}")
            hint = ": is it http:// instead of https://?" if reason in _NO_TLS else ""
            return tls_error(f"TLS failed ({reason}){hint}")
        if isinstance(cause, HTTPException) and not isinstance(cause, (IncompleteRead, RemoteDisconnected)):
            return invalid_http()
        if isinstance(cause, socket.gaierror):
            return _lost("the host name cannot be resolved")
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return _lost(os.strerror(cause.errno or 0).lower())
    return _lost("the connection broke before the answer was whole")


def on_the_way(error: DoubleOError, request: Request, proxy: str | None) -> DoubleOError:
    """`error`, with the proxy that the request went through; or, where nobody listens at the default address, with
    what to do."""
    if proxy is not None:
        error.args = (f"{error} (through the proxy {name_of_proxy(proxy)})",)
    elif str(error) == _REFUSED and request.url.startswith(f"{DEFAULT_BASE_URL}/"):
        error.args = (f"{error}; is the server running (`oo serve`)?",)
    return error


def proxy_refusal(status: int) -> DoubleOError:
    """The error for a forward proxy that does not let a request through."""
    return DoubleOError(f"the proxy refused it ({status})", reason="connection", retryable=status in _PASSING)


def is_closed_connection(error: BaseException) -> bool:
    """Whether an error says that the server closed the connection, or reset it."""
    return any(isinstance(cause, _CLOSED) for cause in causes(error))


def closed() -> DoubleOError:
    """The error of a call whose client was closed."""
    return DoubleOError("the client was closed during the call", reason="closed")


def tls_error(what: str) -> DoubleOError:
    """The error for a server that there is no talking to in private."""
    return DoubleOError(what, reason="tls")


def invalid_http() -> DoubleOError:
    """The error for an answer that is not HTTP."""
    return DoubleOError("the server's answer is not valid HTTP", reason="protocol")


_REFUSED = os.strerror(errno.ECONNREFUSED).lower()


def _lost(what: str) -> DoubleOError:
    return DoubleOError(what, reason="connection", retryable=True)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it wraps."""
    # requests and urllib3 keep the error they wrap now as cause, now as context, now as an argument or `reason`.
    seen: set[int] = set()
    queue = [error]
    while queue:
        cause = queue.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            queue += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
