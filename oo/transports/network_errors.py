"""The edge: what both transports share. Foreign errors are named here, and never travel on."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

from ..exceptions import DoubleOError


def network_error(error: BaseException) -> DoubleOError:
    """A failure of the network, told in our words: a foreign error's own text may hold a URL, a header or a body."""
    for cause in causes(error):
        # aiohttp's errors of TLS are ssl's by name alone, and wrap one that is ssl's own.
        if isinstance(cause, ssl.SSLError) and isinstance(reason := getattr(cause, "reason", None), str):
            if isinstance(cause, ssl.SSLEOFError):
                break
            if isinstance(cause, ssl.SSLCertVerificationError):
                return tls_error(f"the server's certificate is not trusted: {cause.verify_message}")
            return tls_error(f"TLS failed ({reason})")
        if isinstance(cause, HTTPException) and not isinstance(cause, (IncompleteRead, RemoteDisconnected)):
            return invalid_http()
        if isinstance(cause, socket.gaierror):
            return _lost("the host name cannot be resolved")
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            hint = "; is the server running (`oo serve`)?" if cause.errno == errno.ECONNREFUSED else ""
            return _lost(os.strerror(cause.errno or 0).lower() + hint)
    return _lost("the connection broke before the answer was whole")


def tls_error(what: str = "the certificates that REQUESTS_CA_BUNDLE names cannot be read") -> DoubleOError:
    """The error for a server that there is no talking to in private."""
    return DoubleOError(what, reason="tls")


def invalid_http() -> DoubleOError:
    """The error for an answer that is not HTTP."""
    return DoubleOError("the server's answer is not valid HTTP", reason="protocol")


def _lost(what: str) -> DoubleOError:
    return DoubleOError(what, reason="connection", retryable=True)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it wraps."""
    # requests and urllib3 keep the error they wrap now as cause, now as context, now as an argument or `reason`.
    seen: set[int] = set()
    queue = [error]
    while queue:
        each = queue.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
