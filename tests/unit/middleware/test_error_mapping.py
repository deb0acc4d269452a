"""ErrorMapping: what a failure below it becomes. Each is caught above it, and is what the caller gets."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import requests
import urllib3

import oo
from oo.exceptions import DoubleOError
from oo.testing import MockTransport
from tests.support.probing import assert_ours
from tests.support.worlds import World

TOKEN = "a/token+for=errors"
URL = "http://localhost:3001"
ATTRIBUTES = ("status", "reason", "request_id", "retry_after", "attempts", "body", "retryable")

# The operation's error, a call, and what a message says of it.
OPERATIONS: dict[str, tuple[type[DoubleOError], Any, str]] = {
    "secret": (oo.SecretError, lambda client: client.get_secret(TOKEN), "fetch the secret (GET /api/secret"),
    "env": (oo.EnvError, lambda client: client.get_env(TOKEN), "fetch the environment (GET /api/env"),
    "proxy": (
        oo.ProxyError,
        lambda client: client.proxy("v1/x?key=of-the-query", TOKEN, "PUT"),
        "make the proxied call (PUT /api/proxy/v1/x",
    ),
    "chat": (
        oo.ProxyError,
        lambda client: client.chat_completion(TOKEN, []),
        "make the proxied call (POST /api/proxy/v1/chat/completions",
    ),
    "health": (oo.ProxyError, lambda client: client.health(), "check the server's health (GET /health"),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


def fail(world: World, answer: Any, operation: str = "secret") -> Any:
    """What ErrorMapping raises where `answer` comes from below."""
    above: list[Exception] = []

    async def note(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        try:
            return await call_next(request)
        except Exception as error:
            above.append(error)
            raise

    transport = MockTransport(lambda request: answer(request) if callable(answer) else answer)
    client = world.client(URL, middleware=[note, oo.ErrorMapping(), oo.BearerAuth()], transport=transport)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the test says which
        OPERATIONS[operation][1](client)
    assert above == [caught.value]
    return caught.value


def answering(status: int, body: bytes = b"{}", **headers: str) -> Any:
    fields = oo.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return lambda request: oo.Response(status, fields, body, request=request)


def attributes(error: DoubleOError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in ATTRIBUTES}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"error": "no such secret"}', b"<html>", b"\xff"])
@each_operation
def test_a_401_says_that_the_token_was_not_accepted(world: World, operation: str, body: bytes) -> None:
    error = fail(world, answering(401, body), operation)
    assert type(error) is oo.AuthenticationError
    assert (error.status, error.reason, error.retryable) == (401, "status", False)
    assert "token was not accepted" in str(error)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("source", [None, "gateway", "upstream", "Upstream "])
def test_a_401_that_is_marked_as_the_apis_is_no_fault_of_the_token(
    world: World, operation: str, source: str | None
) -> None:
    marks = {} if source is None else {"x-oo-source": source}
    error = fail(world, answering(401, b'{"error": {"message": "Incorrect API key"}}', **marks), operation)
    of_the_api = operation in ("proxy", "chat") and source in ("upstream", "Upstream ")
    assert type(error) is (oo.ProxyError if of_the_api else oo.AuthenticationError)
    assert ("the API refused the credential that the gateway sent (401): Incorrect API key" in str(error)) is of_the_api
    assert ("the token was not accepted (401): Incorrect API key" in str(error)) is not of_the_api
    assert (error.status, error.retryable) == (401, False)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("the token was not accepted", "(401); is it whole, current and for this call?"),
        ("the token was not accepted: it has expired", "(401): it has expired"),
        ("", "(401); is it whole, current and for this call?"),
        ("no such token", "(401): no such token"),
    ],
)
@pytest.mark.parametrize("shape", [lambda said: said, lambda said: {"message": said, "type": "a", "code": "b"}])
def test_a_refusal_says_each_thing_once(world: World, said: str, told: str, shape: Callable[[str], Any]) -> None:
    error = fail(world, answering(401, json.dumps({"error": shape(said)}).encode()))
    assert str(error).endswith(f"the token was not accepted {told}")


@pytest.mark.parametrize(
    "said",
    [
        "token",
        "Invalid TOKEN",
        "Unauthorized",
        "AUTH failed",
        "<b>no such token</b>",
        "x" * 1000 + " token",
        {"message": "bad token"},
        {"message": "x" * 1000 + "auth"},
    ],
)
@pytest.mark.parametrize("operation", ["secret", "env"])
def test_an_error_in_a_200_that_names_the_token_is_of_authentication(world: World, operation: str, said: Any) -> None:
    error = fail(world, {"error": said}, operation)
    assert type(error) is oo.AuthenticationError
    assert (error.status, error.reason, error.retryable) == (200, "answer", False)


@pytest.mark.parametrize("said", ["", "no such thing", "<b>gone</b>", None, 0, True, ["token"], {"code": "auth"}, {}])
@pytest.mark.parametrize("operation", ["secret", "env"])
def test_any_other_error_in_a_200_is_the_operations(world: World, operation: str, said: Any) -> None:
    error = fail(world, {"error": said}, operation)
    assert type(error) is OPERATIONS[operation][0]
    assert (error.status, error.reason, error.retryable) == (200, "answer", False)


def test_the_token_that_a_200_echoes_names_no_token(world: World) -> None:
    assert type(fail(world, {"error": f"nothing for {TOKEN}"})) is oo.SecretError


@pytest.mark.parametrize("operation", ["proxy", "chat"])
def test_an_error_in_an_apis_own_200_is_an_answer(world: World, operation: str) -> None:
    transport = MockTransport([{"error": "bad token"}])
    client = world.client(URL, middleware=[oo.ErrorMapping()], transport=transport)
    assert OPERATIONS[operation][1](client) == {"error": "bad token"}


RETRYABLE = {408, 425, 429, 500, 502, 503, 504, 520, 529, 599}


@pytest.mark.parametrize(
    "status",
    [100, 199, 300, 301, 302, 304, 307, 400, 402, 403, 404, 405, 409, 418, 422, 451, 501, 505, 999, *RETRYABLE],
)
@each_operation
def test_any_other_status_is_the_operations_error(world: World, operation: str, status: int) -> None:
    error = fail(world, answering(status), operation)
    kind, _, said = OPERATIONS[operation]
    assert type(error) is kind
    assert (error.status, error.reason, error.retryable) == (status, "status", status in RETRYABLE)
    assert f"could not {said} at {URL}): the server answered {status}" in str(error)
    assert ("redirects are not followed" in str(error)) is (300 <= status < 400)
    assert "of-the-query" not in str(error)


@pytest.mark.parametrize(
    ("source", "who"),
    [("upstream", "the API"), (" Upstream ", "the API"), ("gateway", "the gateway"), ("x", "the server")],
)
@each_operation
def test_an_error_says_who_answered(world: World, operation: str, source: str, who: str) -> None:
    assert f": {who} answered 503" in str(fail(world, answering(503, X_OO_Source=source), operation))


BODIES = {
    b'{"error": {"message": "slow down", "code": 7}}': {"error": {"message": "slow down", "code": 7}},
    b'"slow down"': "slow down",
    b"slow down": "slow down",
    b"[1, null]": [1, None],
    b"": "",
    b"\xff": "\ufffd",
    b"x" * 100_000: "x" * (1 << 16),
    # A large one is not parsed.
    b"[%b1]" % (b"1," * 50_000): "[" + ("1," * (1 << 15))[:-1],
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:20].decode("latin-1"))
@each_operation
def test_an_error_carries_what_the_server_said_of_it(world: World, operation: str, body: bytes) -> None:
    error = fail(world, answering(429, body, X_Request_Id="r-1", Retry_After="7"), operation)
    assert attributes(error) == {
        "status": 429,
        "reason": "status",
        "request_id": "r-1",
        "retry_after": 7.0,
        "attempts": 0,
        # Only an API's own error is handed on.
        "body": BODIES[body] if operation in ("proxy", "chat") else None,
        "retryable": True,
    }
    assert ("slow down" in str(error)) is (b"slow down" in body)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("r-1", "r-1"), ("~" * 128, "~" * 128), ("~" * 129, None), ("", None), ("a b", None), ("a\x1b[2J", None)],
)
def test_a_request_id_is_kept_where_a_log_line_can_hold_it(world: World, given: str, kept: str | None) -> None:
    assert fail(world, answering(500, X_Request_Id=given)).request_id == kept
    assert fail(world, answering(200, b'{"error": "no"}', X_Request_Id=given)).request_id == kept


@pytest.mark.parametrize(
    "body", [b"<html>no</html>", b" \n<b>no</b>", b'{"error": "<b>no</b>"}', b'{"error": 5}', b"[]"]
)
def test_a_message_quotes_no_html_and_nothing_but_words(world: World, body: bytes) -> None:
    assert str(fail(world, answering(500, body))).endswith("the server answered 500")


def test_a_message_quotes_a_server_shortly_and_on_one_line(world: World) -> None:
    said = "one\r\ntwo\x1b[2J\u2028three\ud800 " + "y" * 1000
    error = fail(world, answering(500, json.dumps({"error": said}).encode()))
    assert ": one two [2J three yyy" in str(error)
    assert str(error).isprintable()
    assert 200 < str(error).count("y") < 300


ECHOES = {
    "plain": TOKEN,
    "percent": quote(TOKEN, safe=""),
    "base64": base64.b64encode(f"Bearer {TOKEN}".encode()).decode(),
    "escaped": TOKEN.replace("/", "\\/"),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize(
    ("operation", "status"),
    [("secret", 200), ("secret", 404), ("env", 200), ("env", 401), ("proxy", 401), ("proxy", 500), ("chat", 400)],
)
def test_a_token_that_a_server_sends_back_is_masked(world: World, operation: str, status: int, echo: str) -> None:
    for body in (
        f'{{"error": "no {echo}!", "{echo}": ["{echo}"]}}',
        f'{{"error": {{"message": "no {echo}!"}}}}',
        f"no {echo}!",
        "x" * ((1 << 16) - 15) + echo,
        "x" * 285 + echo,
    ):
        error = fail(world, answering(status, body.encode(), X_Request_Id=echo), operation)
        assert_ours(error, TOKEN, echo)
        # Nor is a part of it; what comes first in base64 is "Bearer".
        assert echo[10:15] not in f"{error} {error.body} {error.request_id}"


def test_a_token_that_a_transport_tells_of_is_masked(world: World) -> None:
    assert_ours(fail(world, DoubleOError(f"no {TOKEN}", reason="connection")), TOKEN)


@each_operation
def test_a_failure_below_becomes_the_operations_own_with_all_that_it_carries(world: World, operation: str) -> None:
    carried = {
        "status": 207,
        "reason": "size",
        "request_id": "r-1",
        "retry_after": 3.5,
        "attempts": 0,
        "body": {"a": [1]},
        "retryable": True,
    }
    kind, _, said = OPERATIONS[operation]
    error = fail(world, DoubleOError("too large", **carried), operation)
    assert type(error) is kind
    assert str(error) == f"could not {said} at {URL}): too large"
    assert attributes(error) == carried


def test_an_error_that_is_raised_again_and_again_says_the_same(world: World) -> None:
    below = DoubleOError("gone", reason="connection")
    errors = [fail(world, below, operation) for operation in ("secret", "secret", "env")]
    assert str(errors[0]) == str(errors[1])
    assert str(errors[2]).count("could not") == 1
    assert [type(error) for error in errors] == [oo.SecretError, oo.SecretError, oo.EnvError]
    assert (type(below), below.args, len({*errors, below})) == (DoubleOError, ("gone",), 4)


@pytest.mark.parametrize("kind", [oo.SecretError, oo.EnvError, oo.ProxyError, oo.AuthenticationError])
def test_what_is_one_of_the_four_stays_as_it_is(world: World, kind: type[DoubleOError]) -> None:
    below = kind("mine", status=1)
    assert fail(world, below) is below
    assert below.args == ("mine",)


FOREIGN: list[tuple[Exception, str]] = [
    (requests.ConnectionError(f"no {TOKEN}"), "connection"),
    (requests.ReadTimeout(f"no {TOKEN}"), "timeout"),
    (requests.ConnectTimeout(f"no {TOKEN}"), "timeout"),
    (requests.exceptions.SSLError(f"no {TOKEN}"), "tls"),
    (requests.exceptions.InvalidURL(f"no {TOKEN}"), "protocol"),
    (requests.JSONDecodeError("no", TOKEN, 0), "protocol"),
    (urllib3.exceptions.ProtocolError(f"no {TOKEN}"), "connection"),
    (urllib3.exceptions.ConnectTimeoutError(f"no {TOKEN}"), "timeout"),
    (aiohttp.ClientPayloadError(f"no {TOKEN}"), "connection"),
    (aiohttp.ServerTimeoutError(f"no {TOKEN}"), "timeout"),
    (asyncio.TimeoutError(f"no {TOKEN}"), "timeout"),
    (asyncio.IncompleteReadError(TOKEN.encode(), 99), "connection"),
    (TimeoutError(f"no {TOKEN}"), "timeout"),
    (ConnectionResetError(104, f"no {TOKEN}"), "connection"),
    (OSError(101, f"no {TOKEN}"), "connection"),
    (ssl.SSLCertVerificationError(f"no {TOKEN}"), "tls"),
    (json.JSONDecodeError("no", TOKEN, 0), "protocol"),
]


@pytest.mark.parametrize(("foreign", "reason"), FOREIGN, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("place", ["below", "above"])
def test_a_librarys_own_error_becomes_the_operations(world: World, foreign: Exception, reason: str, place: str) -> None:
    async def stumble(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise foreign

    chain = [oo.ErrorMapping(), stumble] if place == "below" else [stumble, oo.ErrorMapping()]
    client = world.client(URL, middleware=chain, transport=MockTransport([]))
    with pytest.raises(oo.EnvError) as caught:
        client.get_env(TOKEN)
    error = caught.value
    assert (error.reason, error.retryable, error.status) == (reason, reason in ("timeout", "connection"), None)
    assert type(foreign).__name__ in str(error)
    # Where it was raised can be read, what it said cannot.
    assert "in stumble" in "".join(traceback.format_exception(error))
    assert_ours(error, TOKEN)


def test_a_librarys_own_error_is_tried_again(world: World) -> None:
    answers: Iterator[Any] = iter([requests.ConnectionError(), TimeoutError(), {"value": "v"}])
    transport = MockTransport(answers, io=world.clock())
    assert world.client(URL, retries=2, transport=transport, plugins=False).get_secret(TOKEN) == "v"


BUGS = [
    KeyError("mine"),
    RuntimeError("mine"),
    ValueError("mine"),
    AssertionError("mine"),
    FileNotFoundError(2, "mine", "settings.toml"),
    ResourceWarning("mine"),
    urllib3.exceptions.InsecureRequestWarning("mine"),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda each: type(each).__name__)
def test_a_bug_travels_on_whole(world: World, bug: Exception) -> None:
    assert fail(world, bug) is bug
    assert bug.__cause__ is None


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 100_000])
@pytest.mark.parametrize(("operation", "status"), [("secret", 200), ("env", 400), ("proxy", 400), ("chat", 500)])
def test_an_answer_that_is_nested_deeply_breaks_nothing(world: World, operation: str, status: int, depth: int) -> None:
    body = b'{"error": ' + b"[" * depth + b"]" * depth + b"}"
    error = fail(world, answering(status, body), operation)
    assert type(error) is OPERATIONS[operation][0]
    assert error.status == status
