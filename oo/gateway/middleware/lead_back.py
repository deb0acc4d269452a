"""Leads the URLs in an upstream's headers back through the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from ..._core.pipeline import CallNext
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ..context import gateway_context
from .mask import LONG_FIELD, give_way

_URLS = frozenset({"location", "content-location", "operation-location", "azure-asyncoperation"})
_LED = _URLS | {"link"}
_LENGTHS = frozenset(map(len, _LED))
_MOST = 64  # URLs of one: more are no list that anybody follows, and leading them back would hold others up
_PORTS = {"http": 80, "https": 443}
# RFC 8288, 3: a target in <>, and parameters, whose quoted strings may hold a '<'.
_TARGET = re.compile(r'"(?:[^"\\]|\\.)*"?|<([^<>]*)>', re.DOTALL)


class LeadBack:
    """Has `Location`, `Link` and their like of the upstream's own origin lead to the same place behind the gateway,
    where the caller's token opens it. URLs of other origins pass untouched.

    It stands inside MaskResponse, and sees the upstream's path as it was sent: a secret in it goes with that path.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        pairs = response.headers.pairs()
        if gateway_context(request).route is None or not _leads(pairs):
            return response
        place, led = _Place(response.request, gateway_context(request).prefix), []
        for name, value in pairs:
            led.append((name, place.led(name.lower(), value)))
            if len(value) > LONG_FIELD and name.lower() in _LED:
                try:
                    await give_way()
                except BaseException:
                    response.abort()  # its caller has left meanwhile
                    raise
        return response.replace(headers=Headers(led))


def _leads(pairs: Iterable[tuple[str, str]]) -> bool:
    # Most of an answer's headers are told from these by their lengths.
    return any([len(name) in _LENGTHS and name.lower() in _LED for name, _ in pairs])  # noqa: C419  # twice as fast


class _Place:
    """Where a request went: what it asked for, and what of that stands for the caller's `prefix`."""

    def __init__(self, request: Request, prefix: str) -> None:
        self._prefix = prefix
        self._asked = request.url
        base = urlsplit(request.base_url or request.url)
        self._origin = _origin(base)
        self._path = _segments(base.path.rstrip("/"))

    def led(self, name: str, value: str) -> str:
        """A header's value, its URLs led back."""
        if name in _URLS:
            return self._back(value)
        if name == "link" and value.count("<") <= _MOST:
            return _TARGET.sub(lambda found: found[0] if found[1] is None else f"<{self._back(found[1])}>", value)
        return value

    def _back(self, url: str) -> str:
        target = url.strip()
        if not target or target.startswith("#"):
            return url
        try:
            absolute = urljoin(self._asked, target)
            parts = urlsplit(absolute)
            if _origin(parts) != self._origin:
                return url
        except ValueError:  # no URL at all
            return url
        path, depth = parts.path.split("/"), len(self._path)
        if len(path) <= depth:
            path += [""] * (depth + 1 - len(path))  # the base itself, without its slash
        if _segments("/".join(path[:depth])) != self._path:
            return absolute  # beside the route, where only a whole URL leads
        return parts._replace(scheme="", netloc="", path=self._prefix + "/".join(path[depth:])).geturl()


def _segments(path: str) -> list[str]:
    """A path's segments as they are meant, however they are escaped."""
    return [unquote(segment) for segment in path.split("/")]


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454, 4); ValueError for a port that is none."""
    host = (parts.hostname or "").rstrip(".")
    return parts.scheme, host, _PORTS.get(parts.scheme) if parts.port is None else parts.port
