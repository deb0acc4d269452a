"""What each error of aiohttp's means to a caller."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError

from oo.transports.aiohttp_errors import ERRORS, UNCONNECTED, translated


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ConnectionTimeoutError(), "timeout"),
        (asyncio.TimeoutError(), "timeout"),
        (HttpProcessingError(), "protocol"),
        (aiohttp.InvalidURL("x"), "protocol"),
        (ValueError(), "protocol"),
        (aiohttp.ServerDisconnectedError(), "connection"),
        (ConnectionResetError(), "connection"),
    ],
)
def test_an_error_has_its_reason(error: Exception, reason: str) -> None:
    assert isinstance(error, ERRORS)
    assert translated(error, "timeout", None).reason == reason


async def test_whatever_fails_once_the_session_is_closed_was_closed() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    assert translated(ConnectionResetError(), "timeout", session).reason == "closed"
    assert translated(asyncio.TimeoutError(), "deadline", session).reason == "deadline"


def test_without_a_connection_nothing_was_sent() -> None:
    assert issubclass(aiohttp.ClientConnectorError, UNCONNECTED)
    assert issubclass(aiohttp.ConnectionTimeoutError, UNCONNECTED)
    assert not issubclass(aiohttp.ServerDisconnectedError, UNCONNECTED)
