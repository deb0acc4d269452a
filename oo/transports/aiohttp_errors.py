"""What errors of aiohttp's mean."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.http import HttpProcessingError

from .._http.request import timed_out
from ..exceptions import DoubleOError
from .network_errors import closed, invalid_http, network_error, proxy_refusal

UNCONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Raised where no connection was made: nothing of the request was sent."""
ERRORS = (aiohttp.ClientError, HttpProcessingError, asyncio.TimeoutError, OSError, ValueError)
"""Raised by an exchange that fails."""

_NONSENSE = (aiohttp.ClientResponseError, HttpProcessingError, ValueError)


def translated(error: BaseException, limit: str, session: aiohttp.ClientSession | None) -> DoubleOError:
    """What an error of aiohttp's or the system's means to the caller."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return DoubleOError("no connection in time", reason="timeout", retryable=True)
    if isinstance(error, asyncio.TimeoutError):
        return timed_out(limit)
    if session is not None and session.closed:
        return closed()
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(error.status)
    # aiohttp.InvalidURL is a ValueError, and so is a certificate's error.
    if isinstance(error, _NONSENSE) and not isinstance(error, OSError):
        return invalid_http()
    return network_error(error)
