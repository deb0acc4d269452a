"""The forward proxies of the environment, and the hosts that NO_PROXY exempts from them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies

from .._http.urls import address, is_loopback_host
from ..exceptions import DoubleOError

PORTS = {"http": 80, "https": 443}
"""The port that a URL means, by its scheme."""

Rule: TypeAlias = Callable[[str, int], bool]
"""Whether an entry of NO_PROXY exempts a host and port."""

_ENTRY = re.compile(r"(?P<host>\[[^\]]*\](?:/[0-9]+)?|[^:]*|.*:.*:.*?)(?::(?P<port>[0-9]{1,5}))?")


class Proxies:
    """The forward proxies of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), read once."""

    def __init__(self) -> None:
        self._proxies = getproxies()
        self._exempt = _rules(self._proxies.pop("no", ""))
        self._known: dict[tuple[str, str, int | None], str | None] = {}

    def __bool__(self) -> bool:
        return bool(self._proxies)

    def of(self, scheme: str, host: str, port: int | None = None) -> str | None:
        """The URL of the proxy to reach a host through, or None. DoubleOError (reason "argument") for a proxy that
        neither transport can speak to."""
        key = (scheme, host, port)
        if key not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[key] = self._found(scheme, host.lower().rstrip("."), port or PORTS.get(scheme, 0))
        proxy = self._known[key]
        if proxy is not None:
            _check(proxy)
        return proxy

    def places(self) -> frozenset[tuple[str, int]]:
        """The host and port of each."""
        places = set()
        for proxy in self._proxies.values():
            with suppress(ValueError):  # no URL at all, which a call through it will be told
                url = urlsplit(_with_scheme(proxy))
                places.add((url.hostname or "", url.port or PORTS.get(url.scheme, 0)))
        return frozenset(places)

    def _found(self, scheme: str, host: str, port: int) -> str | None:
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        if not proxy or _is_here(host) or any(exempts(host, port) for exempts in self._exempt):
            return None
        return _with_scheme(proxy)


def _is_here(host: str) -> bool:
    # 0.0.0.0 and :: are where a server listens; whoever connects to them reaches this machine.
    return is_loopback_host(host) or ((ip := address(host)) is not None and ip.is_unspecified)


def name_of_proxy(proxy: str) -> str:
    """A proxy as messages name it: without user and password."""
    url = urlsplit(proxy)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _check(proxy: str) -> None:
    try:
        url = urlsplit(proxy)
        usable = bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise DoubleOError("the proxy that the environment names is no URL", reason="argument")
    if url.scheme not in PORTS:
        what = f"the proxy {name_of_proxy(proxy)} of the environment speaks {url.scheme}, which is not supported"
        raise DoubleOError(f"{what}; name one of http or https, or exempt the host by NO_PROXY", reason="argument")


def _with_scheme(proxy: str) -> str:
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme.lower()}://{rest}" if separator else f"http://{proxy}"


def _rules(text: str) -> list[Rule]:
    """NO_PROXY as requests, curl and Go read it, each entry of it as a rule. Where they differ, the entry exempts."""
    return [_rule(entry.lower()) for entry in re.split(r"[\s,]+", text) if entry]


def _rule(entry: str) -> Rule:
    if entry == "*":
        return lambda _host, _port: True
    match = _ENTRY.fullmatch(entry)
    pattern, wanted = (match["host"], match["port"]) if match else (entry, None)
    matches = _host_rule(pattern.replace("[", "").replace("]", ""))
    if wanted is None:
        return lambda host, _port: matches(host)
    return lambda host, port: port == int(wanted) and matches(host)


def _host_rule(pattern: str) -> Callable[[str], bool]:
    with suppress(ValueError):
        network = ipaddress.ip_network(pattern, strict=False)
        return lambda host: (ip := address(host)) is not None and ip in network
    # A leading dot or `*.` exempts the domain itself too, as in requests and curl.
    domain = pattern.removeprefix("*").lstrip(".").rstrip(".")
    if not domain:
        return lambda _host: False
    return lambda host: host == domain or (host.endswith("." + domain) and address(host) is None)
