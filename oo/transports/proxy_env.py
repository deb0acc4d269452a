"""The forward proxies of the environment."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]  # its stub leaves it out

_PORTS = {"http": 80, "https": 443}


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
