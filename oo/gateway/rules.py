"""What may be kept in a gateway: the rules that the commands and whatever else keeps things there go by. Pure.

Each refuses with a StoreError that is fit to show: it never quotes a text that may hold a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .._core.masking import SHORTEST
from .._http.urls import is_loopback
from .errors import StoreError
from .header_rules import HOP_BY_HOP, plain
from .models import Rate, Route, Upstream, Variable

MAX_TTL = 100 * 366 * 86400.0
"""Seconds that a token may last."""

MAX_COUNT = 10**9
"""Uses, or calls in a rate."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FRAMING = HOP_BY_HOP | {"content-length", "content-encoding", "accept-encoding", "expect", "http2-settings"}
_UPSTREAM = re.compile(r"(\S+)(?:\s+weight=([0-9]{1,9}))?")


def check_variable(name: str, value: Variable) -> None:
    """Refuse what every client would: a name that is none, a value that no process can have."""
    if not _VARIABLE.fullmatch(name):
        raise StoreError(f"{name!r} is no variable name: letters, digits and _")
    if isinstance(value, str):
        if "\0" in value:
            raise StoreError(f"the value of {name} holds a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise StoreError(f"the value of {name} is not UTF-8 text")


def check_variables(variables: Mapping[str, Variable]) -> None:
    """Refuse an environment that holds nothing, or what is no variable."""
    if not variables:
        raise StoreError("an environment needs a variable")
    for name, value in variables.items():
        check_variable(name, value)


def parse_duration(text: str) -> float:
    """The seconds of a text such as 90s, 15m, 24h or 7d."""
    match = re.fullmatch(r"([0-9]{1,10})([smhd])", text.strip())
    seconds = float(int(match[1]) * _UNITS[match[2]]) if match else 0.0
    if not 0 < seconds <= MAX_TTL:
        raise StoreError(f"{text!r} is no time such as 90s, 15m, 24h or 7d, of 100 years at most")
    return seconds


def parse_rate(text: str) -> Rate:
    """The rate of a text such as 5/s, 60/m or 1000/d."""
    match = re.fullmatch(r"([0-9]{1,10})/([smhd])", text.strip())
    if match is None or not 0 < int(match[1]) <= MAX_COUNT:
        raise StoreError(f"{text!r} is no rate such as 5/s, 60/m or 1000/d")
    return Rate(int(match[1]), float(_UNITS[match[2]]))


def format_rate(rate: Rate) -> str:
    """A rate as it is given."""
    units = {float(seconds): unit for unit, seconds in _UNITS.items()}
    return f"{rate.count}/{units.get(rate.seconds, f'{rate.seconds:g}s')}"


def check_uses(uses: int) -> None:
    """Refuse a number of uses that is none."""
    if not 0 < uses <= MAX_COUNT:
        raise StoreError(f"a token has between 1 and {MAX_COUNT} uses")


def injected(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names of headers or parameters, and their texts, as a Route has them."""
    texts_by_name: dict[str, str] = {}
    for name, text in texts:
        if name.lower() in map(str.lower, texts_by_name):
            raise StoreError(f"{name} is injected twice: such names differ by more than case")
        texts_by_name[name] = text
    return texts_by_name


def check_passed(names: Iterable[str]) -> None:
    """Refuse to pass on what is the gateway's own: how a body is sent, whom it goes to, and the caller's token."""
    for name in names:
        if plain(name) in _FRAMING | {"authorization", "host"}:
            raise StoreError(f"{name} is not passed on: it is between the caller and the gateway")


def parse_upstreams(texts: Iterable[str]) -> dict[str, Any]:
    """The fields of a Route that texts such as `https://b.example weight=2` say."""
    upstreams = []
    for text in texts:
        match = _UPSTREAM.fullmatch(text.strip())
        if match is None:  # it may hold a key, and is not said again
            raise StoreError("an --upstream is a URL, and has a weight or none: 'https://b.example weight=2'")
        upstreams.append(Upstream(match[1], int(match[2] or 1)))
    first, *others = upstreams
    return {"upstream": first.url, "weight": first.weight, "others": tuple(others)}


def check_upstream(route: Route) -> None:
    """Refuse an upstream that the gateway would not call, or to which a key would go in clear."""
    for upstream in route.upstreams:
        check_called(route, upstream.url, "the upstream")


def check_called(route: Route, url: str, what: str) -> None:
    """Refuse a URL that the gateway would not call for a route, or to which a key would go in clear."""
    if not route.allow_private and _is_private(url):
        raise StoreError(f"{what} is a private or loopback address: give --allow-private if that is meant")
    if goes_in_clear(route, url):
        raise StoreError(
            f"{what} is plain http, where all that is sent can be read on the way: "
            "give https, or --allow-plain-http if that is meant"
        )


def goes_in_clear(route: Route, url: str) -> bool:
    """Whether what is sent to a URL could be read on the way, though the route does not allow that."""
    return urlsplit(url).scheme == "http" and not (route.allow_plain_http or is_loopback(url))


def is_weak(value: str) -> bool:
    """Whether a value is too short to be masked."""
    return len(value) < SHORTEST


def nearest(name: str, names: Iterable[str]) -> str:
    """What somebody who mistyped a name may have meant, as the end of a message; "" where nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), 3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _is_private(url: str) -> bool:
    from ..exceptions import DoubleOError
    from .egress import check_literal

    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        check_literal(url)
    except DoubleOError:
        return True
    return False
