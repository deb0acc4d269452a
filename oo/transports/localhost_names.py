"""Names below `localhost`, which are this machine only where they resolve to it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from .._core.warnings import outside
from .._http.urls import is_loopback_host

SUFFIX = ".localhost"
"""What a URL with such a name holds."""

_warned: set[str] = set()


def is_here(host: str, addresses: Iterable[str], scheme: str) -> bool:
    """Whether each of the addresses of such a name is a loopback address. Where one is not, plain http is warned of,
    once."""
    if all(map(is_loopback_host, addresses)):
        return True
    if scheme == "http" and host not in _warned:
        _warned.add(host)
        text = f"{host} is not this machine: over plain http, whoever is on the way can read the token and the secret"
        warnings.warn(text, UserWarning, stacklevel=outside())
    return False
