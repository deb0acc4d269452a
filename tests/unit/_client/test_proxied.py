"""What a proxied call sends, and what it refuses before any I/O."""

from __future__ import annotations

import decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oo
from tests.support.examples import EXAMPLES
from tests.support.faults import serving
from tests.support.operations import CANARY, PROXYING, TOKEN, mocked, refused
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


def cyclic() -> Any:
    circle: dict[str, Any] = {CANARY: []}
    circle[CANARY].append(circle)
    return circle


def nested(depth: int) -> Any:
    deep: Any = CANARY
    for _ in range(depth):
        deep = [deep]
    return deep


class Foreign:
    def __repr__(self) -> str:
        return CANARY


NO_PAYLOADS: dict[str, tuple[Any, str]] = {
    "NaN": ({CANARY: float("nan")}, "NaN"),
    "infinity": ([CANARY, float("inf")], "infinity"),
    "minus infinity": ([CANARY, float("-inf")], "infinity"),
    "NaN as a key": ({float("nan"): CANARY}, "NaN"),
    "an int of 5,000 digits": ([CANARY, 10**5000], "too many digits"),
    "bytes": (CANARY.encode(), ""),
    "bytes within": ({"a": [CANARY.encode()]}, "foreign type"),
    "a set": ({CANARY}, "foreign type"),
    "an object": (Foreign(), "foreign type"),
    "a class": (Foreign, "foreign type"),
    "a generator": ((each for each in CANARY), ""),
    "a decimal": (decimal.Decimal("5501"), "foreign type"),
    "a tuple as a key": ({(CANARY,): 1}, "foreign type"),
    "bytes as a key": ({CANARY.encode(): 1}, "foreign type"),
    "a cycle": (cyclic(), "holds itself"),
    "too deep": (nested(100_000), "too deeply"),
}


@pytest.mark.parametrize(("payload", "why"), NO_PAYLOADS.values(), ids=NO_PAYLOADS)
def test_what_is_no_json_is_refused_before_any_io_and_not_repeated(world: World, payload: Any, why: str) -> None:
    client, transport = mocked(world)
    for call in PROXYING.values():
        error = refused(lambda call=call: call(client, payload=payload), oo.ProxyError, "argument")
        assert why in str(error)
    assert transport.requests == []


PAYLOADS: dict[str, tuple[Any, bytes]] = {
    "an empty object": ({}, b"{}"),
    "an empty list": ([], b"[]"),
    "an empty string": ("", b'""'),
    "false": (False, b"false"),
    "true": (True, b"true"),
    "nought": (0, b"0"),
    "minus nought": (-0.0, b"-0.0"),
    "null within": ({"a": None}, b'{"a":null}'),
    "a tuple": ((1, 2), b"[1,2]"),
    "keys that are no strings": ({1: 2, None: 3, False: 4, 1.5: 5}, b'{"1":2,"null":3,"false":4,"1.5":5}'),
    "non-ASCII": ("\u00fc\U0001f600", b'"\\u00fc\\ud83d\\ude00"'),
    "half a character": ("\ud800", b'"\\ud800"'),
    "controls": ("\0\r\n\x7f", b'"\\u0000\\r\\n\\u007f"'),
    "an int of 4,000 digits": (10**4000, b"1" + b"0" * 4000),
    "a small float": (5e-324, b"5e-324"),
}


@pytest.mark.parametrize(("payload", "body"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_is_sent_as_json(world: World, payload: Any, body: bytes) -> None:
    client, transport = mocked(world, {})
    client.proxy("v1/x", TOKEN, payload=payload)
    (request,) = transport.requests
    assert (request.body, request.headers["Content-Type"]) == (body, "application/json")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_no_payload_is_no_body_and_no_type_on_the_wire(world: World, method: str) -> None:
    with serving() as server:
        world.client(server.url, timeout=PATIENCE).send("v1/x", TOKEN, method)
        (sent,) = server.requests
        assert sent.endswith(b"\r\n\r\n")
        assert b"content-type" not in sent.lower()


def test_a_payload_that_changes_later_is_sent_as_it_was(world: World) -> None:
    client, transport = mocked(world, 503, {}, retries=1, backoff_factor=0)
    payload = {"a": 1}

    def stream() -> Any:
        opened = client.client.stream("v1/x", TOKEN, payload=payload)
        payload["a"] = 2
        return opened.__enter__() if world.blocking else opened.__aenter__()

    world.run(stream)
    assert [request.body for request in transport.requests] == [b'{"a":1}'] * 2


@pytest.mark.parametrize(
    "method",
    [
        *("", " ", "GE T", "GET ", "GET\n", "GET\r\nX-Evil: 1", "GET/", "G\u00c9T", "\uff27ET", "CONNECT", "connect"),
        *(None, 5, b"GET", ["GET"]),
    ],
)
def test_what_is_no_method_is_refused_before_any_io(world: World, method: Any) -> None:
    client, transport = mocked(world)
    for call in (client.proxy, client.send, client.stream):
        refused(lambda call=call: call("v1/x", TOKEN, method), oo.ProxyError, "argument")
    assert transport.requests == []


@pytest.mark.parametrize(("method", "sent"), [("get", "GET"), ("Patch", "PATCH"), ("m-search", "M-SEARCH")])
def test_a_method_is_sent_in_capitals(world: World, method: str, sent: str) -> None:
    client, transport = mocked(world, {})
    client.proxy("v1/x", TOKEN, method)
    assert transport.requests[0].method == sent


OURS = (
    "Authorization Connection Content-Length Expect Host Keep-Alive Proxy-Authorization Proxy-Connection TE Trailer "
    "Transfer-Encoding Upgrade"
).split()
NO_HEADERS: dict[str, Any] = {
    "a list": [("X-A", CANARY)],
    "a string": f"X-A: {CANARY}",
    "a value that is no string": {"X-A": 5501},
    "a value of bytes": {"X-A": CANARY.encode()},
    "no value": {"X-A": None},
    "a name that is no string": {5501: "a"},
    "a name of bytes": {CANARY.encode(): "a"},
    "an empty name": {"": CANARY},
    **{
        f"{mark!r} in a name": {f"X-A{mark}{CANARY}": "a"}
        for mark in (" ", ":", "\t", "\r", "\n", "\r\n", "\0", "\x7f", "(", "/", "@", "\u00e9", "\ud800")
    },
    "a line end behind a name": {f"{CANARY}\n": "a"},
    **{
        f"{mark!r} in a value": {"X-A": f"a{mark}{CANARY}"}
        for mark in ("\r", "\n", "\r\n", "\r\n ", "\0", "\x1b", "\x7f")
    },
    "a header in a value": {"X-A": f"a\r\nX-Evil: {CANARY}"},
    "a line end behind a value": {"X-A": f"{CANARY}\n"},
    "a blank before a value": {"X-A": f" {CANARY}"},
    "a blank behind a value": {"X-A": f"{CANARY} "},
    "half a character in a value": {"X-A": f"{CANARY}\ud800"},
    **{name: {name: CANARY} for name in OURS},
    "one of ours in capitals": {"HOST": CANARY},
    "one of ours in small letters": {"authorization": CANARY},
}


@pytest.mark.parametrize("headers", NO_HEADERS.values(), ids=NO_HEADERS)
def test_what_is_no_header_is_refused_before_any_io_and_not_repeated(world: World, headers: Any) -> None:
    client, transport = mocked(world)
    for call in (client.proxy, client.send, client.stream):
        refused(lambda call=call: call("v1/x", TOKEN, headers=headers), oo.ProxyError, "argument")
    assert transport.requests == []


def test_headers_of_the_caller_take_the_place_of_the_librarys(world: World) -> None:
    client, transport = mocked(world, {})
    given_headers = {"content-type": "text/json", "ACCEPT": "*/*", "User-Agent": "mine", "X-A": "1", "x-a": "2"}
    client.proxy("v1/x", TOKEN, payload={}, headers=given_headers)
    sent = transport.requests[0].headers
    assert {name: sent.get_all(name) for name in given_headers} == {
        "content-type": ["text/json"],
        "ACCEPT": ["*/*"],
        "User-Agent": ["mine"],
        "X-A": ["2"],
        "x-a": ["2"],
    }


NAMES = st.one_of(st.text(), st.text("aZ9-_!#$%&'*+.^`|~: \t\r\n\0\x7f\u00e9\u212a", max_size=6))
VALUES = st.one_of(st.text(), st.text("a \t\r\n\0\x1f\x7f\x85\xa0\xe9:,;\u2028\u20ac\ud800", max_size=8))


@pytest.mark.parametrize("way", ["an argument", "a middleware"])
def test_no_header_smuggles_another_onto_the_wire(way: str) -> None:
    """What is let through arrives as one field, the same in both worlds; what is not is refused in both."""
    header: list[tuple[str, str]] = []

    async def put(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request.with_header(*header[0]) if header else request)

    with serving() as server:
        worlds = [World("blocking"), World("asyncio")]
        clients = [world.client(server.url, timeout=PATIENCE, middleware=[put, oo.ErrorMapping()]) for world in worlds]

        def fields(**arguments: Any) -> list[list[bytes] | None]:
            return [lines(client, **arguments) for client in clients]

        def lines(client: Any, **arguments: Any) -> list[bytes] | None:
            count = len(server.requests)
            try:
                client.send("v1/x", TOKEN, "GET", **arguments)
                return sorted(server.requests[-1].split(b"\r\n"))
            except oo.ProxyError as error:
                reason = error.reason
            assert (reason, len(server.requests)) == ("argument", count)
            return None

        plain = fields()[0]

        @EXAMPLES
        @given(NAMES, VALUES)
        def one_field(name: str, value: str) -> None:
            name = f"X-{name}"
            if way == "an argument":
                one, two = fields(headers={name: value})
            else:
                header[:] = [(name, value)]
                one, two = fields()
            assert one == two
            if one is not None:
                assert plain is not None
                assert one == sorted([*plain, f"{name}: {value}".encode()])

        one_field()
        for world in worlds:
            world.close()


def test_a_field_that_a_middleware_repeats_comes_each_time(world: World) -> None:
    async def repeat(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        pairs = [*request.headers.pairs(), ("X-A", "1"), ("X-A", "2"), ("x-a", "3")]
        return await call_next(request.replace(headers=oo.Headers(pairs)))

    with serving() as server:
        client = world.client(server.url, timeout=PATIENCE, middleware=[repeat, oo.ErrorMapping()])
        client.send("v1/x", TOKEN, "GET")
        lines = server.requests[0].split(b"\r\n")
        assert [line for line in lines if line.lower().startswith(b"x-a")] == [b"X-A: 1", b"X-A: 2", b"X-A: 3"]
