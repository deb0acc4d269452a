"""The edge: what both transports share. Foreign errors are named here, and never travel on."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]  # its stub leaves it out

from .._http.request import NAME, VALUE, Request
from ..exceptions import DoubleOError

_PORTS = {"http": 80, "https": 443}


def limits(request: Request, now: float) -> tuple[float, str]:
    """The instant by which this attempt, or this read of a stream, must be over, and which limit says so;
    DoubleOError where that has passed."""
    until = now + request.timeout
    if request.deadline is None or until < request.deadline:
        return until, "timeout"
    if request.deadline <= now:
        raise timed_out("deadline")
    return request.deadline, "deadline"


def goes_on(request: Request, status: int) -> bool:
    """Whether the body may take as long as it takes: a stream that was asked for, unless it only tells of an error."""
    return request.stream and 200 <= status < 300


def fields(request: Request) -> Iterable[tuple[str, str]]:
    """The request's header fields, one that is repeated under one name; DoubleOError where a middleware made one that
    would not be read as it was meant."""
    pairs = request.headers.pairs()
    if not pairs:
        return ()
    written, values = zip(*pairs, strict=True)
    names, together = _names(written), "".join(values)
    if names is None or not (together.isprintable() or VALUE.fullmatch(together)):
        raise DoubleOError("a header holds a character that no header has", reason="argument")
    return pairs if names == written else zip(names, values, strict=True)


@lru_cache(256)
def _names(names: tuple[str, ...]) -> tuple[str, ...] | None:
    # Most calls have the names of another.
    if not all(map(NAME.fullmatch, names)):
        return None
    first: dict[str, str] = {}
    return tuple(first.setdefault(name.lower(), name) for name in names)


def ca_bundle() -> str | None:
    """The file of trusted certificates that the environment names, if it does."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


def timed_out(limit: str) -> DoubleOError:
    """The error of an attempt that came to the end of its time."""
    if limit == "deadline":
        return DoubleOError("the deadline of the call passed", reason="deadline")
    return DoubleOError("no complete answer in time", reason="timeout", retryable=True)


def broken(error: BaseException) -> DoubleOError:
    """A failure of the network, told in our words: a foreign error's own text may hold a URL, a header or a body."""
    for cause in causes(error):
        # aiohttp's errors of TLS are ssl's by name alone, and wrap one that is ssl's own.
        if isinstance(cause, ssl.SSLError) and isinstance(reason := getattr(cause, "reason", None), str):
            if isinstance(cause, ssl.SSLEOFError):
                break
            if isinstance(cause, ssl.SSLCertVerificationError):
                return untrusted(f"the server's certificate is not trusted: {cause.verify_message}")
            return untrusted(f"TLS failed ({reason})")
        if isinstance(cause, HTTPException) and not isinstance(cause, (IncompleteRead, RemoteDisconnected)):
            return nonsense()
        if isinstance(cause, socket.gaierror):
            return _lost("the host name cannot be resolved")
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            hint = "; is the server running (`oo serve`)?" if cause.errno == errno.ECONNREFUSED else ""
            return _lost(os.strerror(cause.errno or 0).lower() + hint)
    return _lost("the connection broke before the answer was whole")


def untrusted(what: str = "the certificates that REQUESTS_CA_BUNDLE names cannot be read") -> DoubleOError:
    """The error for a server that there is no talking to in private."""
    return DoubleOError(what, reason="tls")


def nonsense() -> DoubleOError:
    """The error for an answer that is not HTTP."""
    return DoubleOError("the server's answer is not valid HTTP", reason="protocol")


class Proxies:
    """The forward proxies of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), read once."""

    def __init__(self) -> None:
        self._proxies = getproxies()
        self._known: dict[tuple[str, str], str | None] = {}

    def __bool__(self) -> bool:
        return bool(self._proxies)

    def of(self, scheme: str, host: str) -> str | None:
        """The proxy to reach `host` through, or None."""
        key = (scheme, host)
        if key not in self._known:
            proxy = self._proxies.get(scheme) or self._proxies.get("all")
            if proxy is not None and proxy_bypass_environment(host, self._proxies):
                proxy = None
            self._known[key] = None if proxy is None else _with_scheme(proxy)
        return self._known[key]

    def places(self) -> frozenset[tuple[str, int]]:
        """The host and port of each."""
        found = set()
        for scheme, proxy in self._proxies.items():
            if scheme == "no":  # where there is none
                continue
            with suppress(ValueError):  # no URL at all, which a call through it will be told
                url = urlsplit(_with_scheme(proxy))
                found.add((url.hostname or "", url.port or _PORTS.get(url.scheme, 0)))
        return frozenset(found)


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


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
