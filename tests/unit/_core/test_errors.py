"""What an error quotes of a server, and which foreign errors are failures of the call."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from typing import Any

import aiohttp
import pytest
import requests

import oo
from oo._core.errors import RETRYABLE, error_body, one_line, request_id, server_message, translated


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "gone"}, "gone"),
        ({"error": {"message": "gone", "type": "t"}}, "gone"),
        ({"message": "gone"}, "gone"),
        ({"detail": "gone"}, "gone"),
        ({"error": "this", "message": "that"}, "this"),
        ("gone", "gone"),
        ({"error": ["gone"]}, ""),
        ({"other": "gone"}, ""),
        ({}, ""),
        (["gone"], ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_servers_words_are_found_where_servers_put_them(body: Any, words: str) -> None:
    assert server_message(body) == words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("plain", "plain"),
        ("  two\r\n\tlines ", "two lines"),
        ("a\x1b[31mb\x00c\u2028d", "a [31mb c d"),
        ("<html>", ""),
        (" \n<!DOCTYPE html>", ""),
        ("a < b", "a < b"),
        ("x" * 1000, "x" * 300),
        ("", ""),
    ],
)
def test_words_are_quoted_on_one_line(words: str, line: str) -> None:
    assert one_line(words) == line


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"X-Request-Id": "theirs", "X-OO-Request-Id": "ours"}, "theirs"),
        ({"X-OO-Request-Id": "ours"}, "ours"),
        ({"X-Request-Id": "two words", "X-OO-Request-Id": "ours"}, "ours"),
        ({"X-Request-Id": "x" * 129}, None),
        ({}, None),
    ],
)
def test_the_name_of_a_call_is_the_apis_else_the_gateways(fields: dict[str, str], named: str | None) -> None:
    request = oo.Request("GET", "https://api.test/x")
    assert request_id(oo.Response(500, oo.Headers(fields), request=request)) == named


@pytest.mark.parametrize(
    ("foreign", "reason", "retryable"),
    [
        (requests.ConnectionError("its text"), "connection", True),
        (requests.Timeout("its text"), "timeout", True),
        (aiohttp.ServerTimeoutError("its text"), "timeout", True),
        (aiohttp.ClientPayloadError("its text"), "connection", True),
        (asyncio.TimeoutError(), "timeout", True),
        (TimeoutError(), "timeout", True),
        (ConnectionResetError(), "connection", True),
        (socket.gaierror(), "connection", True),
        (ssl.SSLCertVerificationError(), "tls", False),
        (json.JSONDecodeError("its text", "its text", 0), "protocol", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_of_the_network_is_translated_and_not_quoted(
    foreign: Exception, reason: str, retryable: bool
) -> None:
    failure = translated(foreign)
    assert failure is not None
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert str(failure).startswith("a middleware or the transport raised ")
    assert str(failure).endswith(type(foreign).__name__)
    assert "its text" not in str(failure)
    assert (failure.__cause__, failure.__context__) == (None, None)


@pytest.mark.parametrize(
    "bug", [KeyError("x"), ValueError("x"), FileNotFoundError(2, "x", "/a/file"), RuntimeError("x"), UserWarning("x")]
)
def test_a_bug_is_not_translated(bug: Exception) -> None:
    assert translated(bug) is None


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 422, 501, 505])
def test_what_a_repeat_cannot_mend_is_not_retryable(status: int) -> None:
    assert status not in RETRYABLE


@pytest.mark.parametrize("cut", ["{token}", "user:{token}"])
def test_a_body_that_ends_within_the_token_shows_no_beginning_of_it(cut: str) -> None:
    token = "oo_" + "aB3" * 16 + "x"
    said = cut.format(token=token[:40])
    begun = base64.b64encode(said.encode()).decode().rstrip("=") if ":" in cut else said
    request = oo.Request("GET", "http://x/")
    request.context.token = token
    body = error_body(oo.Response(400, oo.Headers(), f"you sent {begun}".encode(), request=request))
    assert isinstance(body, str)
    assert body.startswith("you sent ")
    assert body.endswith("***")
    assert begun[12:20] not in body
