"""What an answer means: a value of the promised type, or the operation's error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import oo
from oo.testing import MockTransport, Scripted
from tests.support.operations import CANARY, FETCHING, PROXYING, TOKEN, URL, mocked
from tests.support.probing import assert_ours
from tests.support.worlds import World

READS: dict[str, tuple[type[oo.DoubleOError], Callable[[Any], Any]]] = {
    "secret": (oo.SecretError, FETCHING["secret"]),
    "env": (oo.EnvError, FETCHING["env"]),
    "proxy": (oo.ProxyError, PROXYING["proxy"]),
    "chat": (oo.ProxyError, PROXYING["chat"]),
    "embed": (oo.ProxyError, PROXYING["embed"]),
    "image": (oo.ProxyError, PROXYING["image"]),
    "health": (oo.ProxyError, lambda client: client.health()),
}


PARSING = [name for name in READS if name != "health"]
FETCHED = ["secret", "env"]
OBJECTS = ["secret", "env", "chat", "embed", "image"]


NONSENSE: dict[str, tuple[Scripted, list[str]]] = {
    "nothing": (b"", OBJECTS),
    "blanks": (b" \r\n\t", PARSING),
    "UTF-16": ('{"value": "a"}'.encode("utf-16"), PARSING),
    "half an object": (b'{"value": "canary-5501', PARSING),
    "two values": (b'{"value": "a"} {"value": "b"}', PARSING),
    "100,000 lists": (b"[" * 100_000 + b"]" * 100_000, PARSING),
    "a tail": (b'{"value": "a", "secrets": {}}x', PARSING),
    "HTML": (b"<!doctype html><html>canary-5501</html>", PARSING),
    "5,000 digits": (b'{"value": "a", "secrets": {}, "b": ' + b"9" * 5000 + b"}", PARSING),
    "text": (b"canary-5501", PARSING),
    "UTF-8 that is none": (b'{"value": "\xff", "secrets": {"A": "\xff"}}', PARSING),
    "a list": ([{"value": "a"}], OBJECTS),
    "UTF-8 cut short": (b'{"value": "\xe2\x82', PARSING),
    "NaN": (b'{"value": "a", "secrets": {}, "b": NaN}', PARSING),
    "no member": ({"VALUE": "canary-5501"}, FETCHED),
    "infinity": (b'{"value": "a", "secrets": {}, "b": -Infinity}', PARSING),
    "single quotes": (b"{'value': 'a'}", PARSING),
    "null for a value": ({"value": None, "secrets": None}, FETCHED),
    "a comma too many": (b'{"value": "a", "secrets": {},}', PARSING),
    "a line end in a string": (b'{"value": "a\nb", "secrets": {"A": "a\nb"}}', PARSING),
    "a number for a value": ({"value": 5501, "secrets": 5501}, FETCHED),
    "a string": (b'"canary-5501"', OBJECTS),
    "a number": (b"5501", OBJECTS),
    "a list for a value": ({"value": [CANARY], "secrets": [CANARY]}, FETCHED),
    "null": (b"null", OBJECTS),
    "false": (b"false", OBJECTS),
    "an object for a secret": ({"value": {"a": CANARY}}, ["secret"]),
    "half a character": (b'{"value": "a\\ud800", "secrets": {"A": "a\\udfff"}}', FETCHED),
    "a number for a variable": ({"secrets": {"A": CANARY, "B": 5501}}, ["env"]),
    "null for a variable": ({"secrets": {"A": CANARY, "B": None}}, ["env"]),
    "half a character in a name": (b'{"secrets": {"A\\ud800": "canary-5501"}}', ["env"]),
}


@pytest.mark.parametrize(("answer", "names"), NONSENSE.values(), ids=NONSENSE)
def test_an_answer_without_sense_is_a_protocol_error(world: World, answer: Scripted, names: list[str]) -> None:
    client, transport = mocked(world, *[answer] * len(names), retries=3)
    for kind, call in (READS[name] for name in names):
        with pytest.raises(oo.DoubleOError) as caught:
            call(client)
        error = caught.value
        assert (type(error), error.reason, error.status, error.retryable) == (kind, "protocol", 200, False)
        assert error.attempts == 1
        assert_ours(error, CANARY, "5501", TOKEN)
    assert len(transport.requests) == len(names)


@pytest.mark.parametrize("answer", NONSENSE)
def test_health_and_send_leave_the_body_alone(world: World, answer: str) -> None:
    scripted = NONSENSE[answer][0]
    client, _ = mocked(world, *[scripted] * 2)
    assert client.health() is True
    response = client.send("v1/x", TOKEN)
    assert response.status == 200
    assert response.body == scripted if isinstance(scripted, bytes) else json.loads(response.body) == scripted


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, [{"a": 1}], "text", 1.5, {"error": "its own"}])
def test_proxy_gives_whatever_json_the_api_answers(world: World, value: Any) -> None:
    client, _ = mocked(world, json.dumps(value).encode())
    assert client.proxy("v1/x", TOKEN) == value


@pytest.mark.parametrize(("method", "status"), [("POST", 204), ("POST", 205), ("HEAD", 200)])
def test_proxy_gives_none_where_there_is_no_content(world: World, method: str, status: int) -> None:
    def answer(request: oo.Request) -> oo.Response:
        return oo.Response(status, request=request)

    client = world.client(URL, transport=MockTransport(answer))
    assert client.proxy("v1/x", TOKEN, method) is None
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)


RETRYABLE = (408, 425, 429, 500, 502, 503, 504, 520, 529, 599)


STATUSES = (
    100,
    199,
    300,
    301,
    302,
    303,
    304,
    307,
    308,
    399,
    400,
    401,
    402,
    403,
    404,
    405,
    409,
    410,
    418,
    422,
    501,
    505,
)


@pytest.mark.parametrize("status", [*STATUSES, *RETRYABLE])
def test_a_status_is_an_error_of_its_own(world: World, status: int) -> None:
    client, _ = mocked(world, *[status] * len(READS))
    for kind, call in READS.values():
        with pytest.raises(oo.DoubleOError) as caught:
            call(client)
        error = caught.value
        assert type(error) is (oo.AuthenticationError if status == 401 else kind)
        assert (error.reason, error.status, error.retryable) == ("status", status, status in RETRYABLE)
        assert str(status) in str(error)
        assert ("redirects are not followed" in str(error)) == (300 <= status < 400)
        assert_ours(error, TOKEN)


SAID = {
    "no such secret": False,
    "Not authorized": True,
    "the TOKEN has expired": True,
    "unauthenticated": True,
    "": False,
}


@pytest.mark.parametrize(("said", "accused"), SAID.items())
@pytest.mark.parametrize("name", FETCHED)
def test_an_error_in_a_200_is_of_the_token_where_it_says_so(world: World, name: str, said: str, accused: bool) -> None:
    kind, call = READS[name]
    client, _ = mocked(world, {"error": said})
    with pytest.raises(oo.DoubleOError) as caught:
        call(client)
    error = caught.value
    assert str(error).endswith(f"the server answered with an error: {said}")
    assert type(error) is (oo.AuthenticationError if accused else kind)
    assert (error.reason, error.status, error.retryable) == ("answer", 200, False)


@pytest.mark.parametrize("said", [None, 5, [], ["token"], {"message": "no auth"}, {}, True])
@pytest.mark.parametrize("name", FETCHED)
def test_an_error_in_a_200_may_be_of_any_type(world: World, name: str, said: Any) -> None:
    client, _ = mocked(world, {"error": said})
    with pytest.raises(oo.DoubleOError) as caught:
        READS[name][1](client)
    assert (caught.value.reason, caught.value.status) == ("answer", 200)
    assert_ours(caught.value, TOKEN)


def test_a_value_beside_an_error_is_the_answer(world: World) -> None:
    client, _ = mocked(world, {"value": "v", "error": None}, {"secrets": {}, "error": None})
    assert client.get_secret(TOKEN) == "v"
    assert client.get_env(TOKEN) == {}
