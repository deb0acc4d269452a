"""Errors of other libraries that nobody below has translated: their own texts may hold a URL, a header or a body."""

from __future__ import annotations

from .._core.pipeline import name_of
from ..exceptions import DoubleOError

_LIBRARIES = frozenset({"aiohttp", "asyncio", "json", "requests", "socket", "ssl", "urllib3"})


def translated(error: Exception) -> DoubleOError | None:
    """The failure that a library's or the network's own error stands for; None for any other, which is somebody's bug.
    It tells the error's name and keeps its traceback, and nothing else of it."""
    kinds = type(error).__mro__
    # An OSError that names a file is not the network's.
    of_the_network = isinstance(error, OSError) and error.filename is None
    of_a_library = any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in kinds)
    if isinstance(error, Warning) or not (of_the_network or of_a_library):
        return None
    reason = _reason(error, " ".join(kind.__name__ for kind in kinds).lower())
    message = f"a middleware or the transport raised {name_of(type(error))}"
    failure = DoubleOError(message, reason=reason, retryable=reason in ("timeout", "connection"))
    return failure.with_traceback(error.__traceback__)


def _reason(error: Exception, names: str) -> str:
    if "timeout" in names:
        return "timeout"
    if "ssl" in names or "certificate" in names:
        return "tls"
    return "protocol" if isinstance(error, ValueError) else "connection"
