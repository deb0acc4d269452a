"""How long an attempt may take, and what is said when it took longer."""

from __future__ import annotations

from .._http.body import Body
from .._http.request import Request
from ..exceptions import DoubleOError

MAX_CONNECTIONS = 256
"""Connections of a transport, unless told."""


def limits(request: Request, now: float) -> tuple[float, str]:
    """The instant by which this attempt, or this read of a stream, must be over, and which limit says so;
    DoubleOError where that has passed."""
    until = now + request.timeout
    if request.deadline is None or until < request.deadline:
        return until, "timeout"
    if request.deadline <= now:
        raise timed_out("deadline")
    return request.deadline, "deadline"


def is_streaming(request: Request, status: int) -> bool:
    """Whether the body may take as long as it takes: a stream that was asked for, unless it only tells of an error; any
    that may come while the request's own is still going."""
    return request.stream_response and (200 <= status < 300 or isinstance(request.body, Body))


def timed_out(limit: str) -> DoubleOError:
    """The error of an attempt that came to the end of its time."""
    if limit == "deadline":
        return DoubleOError("the deadline of the call passed", reason="deadline")
    return DoubleOError("no complete answer in time", reason="timeout", retryable=True)


def connection_limit(most: int) -> int:
    """`most`, or half of the files that the process may open (`ulimit -n`) where that is less."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return most
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, max(1, files // 2))
