"""Streams, in both worlds: over MockTransport where the chain is tested, over raw sockets where the wire is."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

import oo
from oo.testing import MockTransport, Streamed
from tests.support.faults import CLOSE, READ, SILENCE, Drip, answer, head, serving
from tests.support.probing import assert_ours, rest
from tests.support.waiting import PATIENCE, on_time
from tests.support.worlds import Calls, World

TOKEN = "a-token-for-streams"
CHUNKS = [{"choices": [{"delta": {"content": word}}]} for word in ("Hello", " to", " y\u00f6u \U0001f600")]
SSE = b"".join(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in CHUNKS)
DONE = b"data: [DONE]\n\n"


@contextmanager
def opened(client: Calls, path: str = "v1/x", **arguments: Any) -> Iterator[Any]:
    """`with client.stream(...)`, or `async with`, whichever the world has."""
    stream = client.client.stream(path, TOKEN, **arguments)
    if client.world.blocking:
        with stream as response:
            yield response
        return
    response = client.world.run(stream.__aenter__)
    try:
        yield response
    finally:
        client.world.run(lambda: stream.__aexit__(None, None, None))


def taken(world: World, items: Any, most: int | None = None) -> list[Any]:
    """The items of an iterator of either kind, at most so many."""
    found: list[Any] = []
    if world.blocking:
        for item in items:
            found.append(item)
            if len(found) == most:
                break
        return found

    async def take() -> list[Any]:
        async for item in items:
            found.append(item)
            if len(found) == most:
                break
        return found

    result: list[Any] = world.run(take)
    return result


def mocked(world: World, *answers: Any, **settings: Any) -> tuple[Calls, MockTransport]:
    transport = MockTransport(answers)
    return world.client("http://localhost:3001", transport=transport, plugins=False, **settings), transport


def test_chat_gives_its_chunks_up_to_done(world: World) -> None:
    client, transport = mocked(world, Streamed([SSE, DONE, b"data: after\n\n"]))
    chunks = client.chat_completion(TOKEN, [{"role": "user", "content": "Hi"}], stream=True)
    assert taken(world, chunks) == CHUNKS
    sent = json.loads(transport.requests[0].body or b"")
    assert sent["stream"] is True
    assert transport.requests[0].headers["Accept"] == "text/event-stream"


def test_chat_chunks_are_the_same_however_the_bytes_are_cut(world: World) -> None:
    client, _ = mocked(world, Streamed([bytes([byte]) for byte in SSE + DONE]))
    assert taken(world, client.chat_completion(TOKEN, [], stream=True)) == CHUNKS


def test_the_function_streams_as_the_client_does(openai: Any, gateway: oo.testing.LocalGateway) -> None:
    token = gateway.route("openai", openai.url)
    chunks = list(oo.chat(token, [{"role": "user", "content": "Hi"}], base_url=gateway.url, stream=True))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello to you."


@pytest.mark.parametrize("data", [b"data: {not json\n\n", b"data: [1]\n\n", b"data: NaN\n\n"])
def test_a_chunk_that_is_no_object_is_an_error(world: World, data: bytes) -> None:
    client, _ = mocked(world, Streamed([SSE, data, DONE]))
    chunks = client.chat_completion(TOKEN, [], stream=True)
    assert taken(world, chunks, len(CHUNKS)) == CHUNKS
    with pytest.raises(oo.ProxyError) as caught:
        taken(world, chunks)
    assert caught.value.reason == "protocol"


def test_chat_that_ends_without_done_is_an_error(world: World) -> None:
    client, _ = mocked(world, Streamed([SSE]))
    with pytest.raises(oo.ProxyError) as caught:
        taken(world, client.chat_completion(TOKEN, [], stream=True))
    assert caught.value.reason == "connection"


def chunk(reason: str | None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


NO_CHOICES = b'data: {"choices": [], "usage": {}}\n\n'
ENDS: dict[str, tuple[bytes, int | None]] = {
    "a finish_reason": (chunk(None) + chunk("stop"), 2),
    "a finish_reason, then usage": (NO_CHOICES + chunk("stop") + NO_CHOICES, 3),
    "a finish_reason for each choice": (chunk("stop", 1) + chunk(None) + chunk("length") + chunk(None), 4),
    "[DONE] without its blank line": (SSE + b"data: [DONE]", 3),
    "[DONE] without its second line end": (SSE + b"data: [DONE]\n", 3),
    "a last event without its blank line": (SSE + chunk("stop")[:-2], 4),
    "no end": (SSE, None),
    "one choice of two": (chunk("stop", 1) + chunk(None), None),
    "half an event": (chunk("stop") + b'data: {"choices"', None),
    "a last event that ends nothing": (chunk(None)[:-1], None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("stream", "count"), ENDS.values(), ids=ENDS)
def test_how_the_stream_of_a_chat_may_end(world: World, stream: bytes, count: int | None) -> None:
    client, _ = mocked(world, Streamed([stream]))
    chunks = client.chat_completion(TOKEN, [], stream=True)
    if count is not None:
        assert len(taken(world, chunks)) == count
        return
    with pytest.raises(oo.ProxyError) as caught:
        taken(world, chunks)
    assert caught.value.reason == "connection"


@pytest.mark.parametrize(
    ("event", "said", "body"),
    [
        (b'data: {"error": {"message": "overloaded"}}\n\n', "overloaded", {"error": {"message": "overloaded"}}),
        (b'data: {"error": "too\\nmuch", "choices": []}\n\n', "too much", {"error": "too\nmuch", "choices": []}),
        (b'event: error\ndata: {"message": "gone"}\n\n', "gone", {"message": "gone"}),
        (b"event: error\ndata: out of order\n\n", "out of order", "out of order"),
        (b'data: {"error": "a-token-for-streams"}\n\n', "***", {"error": "***"}),
        (b'data: {"error": "cut"}', "cut", {"error": "cut"}),
    ],
)
def test_an_error_within_a_chat_is_the_apis(world: World, event: bytes, said: str, body: Any) -> None:
    client, _ = mocked(world, Streamed([SSE, event, DONE if event.endswith(b"\n\n") else b""]))
    chunks = client.chat_completion(TOKEN, [], stream=True)
    assert taken(world, chunks, len(CHUNKS)) == CHUNKS
    with pytest.raises(oo.ProxyError) as caught:
        taken(world, chunks)
    error = caught.value
    assert str(error).endswith(f"the stream broke off with an error: {said}")
    assert (error.reason, error.status, error.body) == ("answer", 200, body)
    assert_ours(error, TOKEN)


def test_an_error_that_is_null_is_none(world: World) -> None:
    client, _ = mocked(world, Streamed([b'data: {"error": null, "choices": []}\n\n', DONE]))
    assert len(taken(world, client.chat_completion(TOKEN, [], stream=True))) == 1


def test_a_stream_has_bytes_lines_and_events(world: World) -> None:
    body = [b"event: a\r\nda", b"ta: 1\r\n\r\ndata: \xc3", b"\xa9\n\nrest"]
    client, _ = mocked(world, *(Streamed(body, headers=oo.Headers({"X-A": "b"})) for _ in range(3)))
    with opened(client) as response:
        assert (response.status, response.headers["x-a"]) == (200, "b")
        assert b"".join(taken(world, response.iter_bytes())) == b"".join(body)
    with opened(client) as response:
        assert taken(world, response.iter_lines()) == ["event: a", "data: 1", "", "data: \u00e9", "", "rest"]
    with opened(client) as response:
        events = taken(world, response.iter_events())
        assert [(event.event, event.data) for event in events] == [("a", "1"), ("message", "\u00e9")]


def test_a_failed_stream_is_the_same_error_as_a_failed_call(world: World) -> None:
    body = [b'{"error": {"mess', b'age": "no such model"}}']
    client, _ = mocked(world, Streamed(body, 404), Streamed(body, 404))
    with pytest.raises(oo.ProxyError) as streamed, opened(client):
        pass
    with pytest.raises(oo.ProxyError) as plain:
        client.proxy("v1/x", TOKEN)
    assert vars(streamed.value) == vars(plain.value)
    assert str(streamed.value) == str(plain.value)
    assert streamed.value.body == {"error": {"message": "no such model"}}


def test_a_stream_is_retried_until_its_headers_have_come_and_not_after(world: World) -> None:
    broken = oo.DoubleOError("gone", reason="connection", retryable=True)
    client, transport = mocked(world, 503, broken, Streamed([b"one", broken]), retries=5, backoff_factor=0)
    with opened(client) as response, pytest.raises(oo.ProxyError) as caught:
        taken(world, response.iter_bytes())
    assert caught.value.reason == "connection"
    assert len(transport.requests) == 3


def test_a_middleware_wraps_the_stream_and_learns_how_it_ended(world: World) -> None:
    seen: list[Any] = []

    async def shout(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        seen.append(response.status)

        async def louder(stream: Any) -> Any:
            end = "left"
            try:
                async for piece in stream:
                    yield piece.upper()
                end = "ended"
            except oo.DoubleOError:
                end = "failed"
                raise
            finally:
                seen.append(end)

        return response.replace(stream=louder(response.stream))

    chain = [shout, *oo.default_middleware()]
    scripts = [
        Streamed([b"a", b"b"]),
        Streamed([b"a", oo.DoubleOError("x", reason="connection")]),
        Streamed([b"a", b"b"]),
    ]
    transport = MockTransport(scripts)
    client = world.client("http://localhost:3001", middleware=chain, transport=transport)
    with opened(client) as response:
        assert taken(world, response.iter_bytes()) == [b"A", b"B"]
    with opened(client) as response, pytest.raises(oo.ProxyError):
        taken(world, response.iter_bytes())
    with opened(client) as response:
        assert taken(world, response.iter_bytes(), 1) == [b"A"]
    assert seen == [200, "ended", 200, "failed", 200, "left"]
    assert [script.left for script in scripts] == [False, True, True]


@pytest.mark.parametrize("place", ["below", "above", "leaving"])
def test_a_librarys_own_error_within_a_stream_is_the_operations(world: World, place: str) -> None:
    foreign = aiohttp.ClientPayloadError(f"no {TOKEN}")

    async def stumble(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)

        async def stumbling(stream: Any) -> Any:
            try:
                async for piece in stream:
                    yield piece
                if place == "above":
                    raise foreign
            finally:
                if place == "leaving":
                    raise foreign

        return response.replace(stream=stumbling(response.stream))

    script = Streamed([b"a", foreign] if place == "below" else [b"a"])
    chain = [stumble, *oo.default_middleware()]
    client = world.client("http://localhost:3001", middleware=chain, transport=MockTransport([script]))

    def read() -> None:
        with opened(client) as response:
            pieces = response.iter_bytes()
            taken(world, pieces, 1 if place == "leaving" else None)

    with pytest.raises(oo.ProxyError) as caught:
        read()
    assert (caught.value.reason, caught.value.retryable) == ("connection", True)
    assert script.left is not None
    assert_ours(caught.value, TOKEN)


def test_a_bug_within_a_stream_travels_on_whole(world: World) -> None:
    bug = KeyError("mine")
    client, _ = mocked(world, Streamed([b"a", bug]))
    with opened(client) as response, pytest.raises(KeyError) as caught:
        taken(world, response.iter_lines())
    assert caught.value is bug


@pytest.mark.parametrize("body", [b"abc", b""])
def test_a_small_body_that_comes_with_its_headers_is_a_stream_as_any_other(world: World, body: bytes) -> None:
    async def shout(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)

        async def louder(stream: Any) -> Any:
            async for piece in stream:
                yield piece.upper()

        return response.replace(stream=louder(response.stream))

    with serving([READ, answer(body)]) as server:
        client = world.client(server.url, middleware=[*oo.default_middleware(), shout])
        with opened(client) as response:
            assert taken(world, response.iter_bytes()) == ([body.upper()] if body else [])


def test_what_is_read_after_the_deadline_is_too_late_though_it_came_in_time(world: World) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\nabc\r\n0\r\n\r\n"]) as server:
        client = world.client(server.url, deadline=1)
        with opened(client) as response:
            rest(world, 1.05)
            with pytest.raises(oo.ProxyError) as caught:
                taken(world, response.iter_bytes())
        assert caught.value.reason == "deadline"


def test_a_stream_is_not_open_before_its_block(world: World) -> None:
    client, transport = mocked(world)
    with pytest.raises(RuntimeError, match="with client"):
        _ = client.client.stream("v1/x", TOKEN).status
    assert transport.requests == []


def test_a_stream_that_a_middleware_answered_itself_is_read_as_any_other(world: World) -> None:
    async def answered(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return oo.Response(200, body=b"one\ntwo", request=request)

    client = world.client(transport=MockTransport([]), middleware=[answered])
    with opened(client) as stream:
        assert taken(world, stream.iter_lines()) == ["one", "two"]


def test_bad_arguments_of_a_stream_are_refused_before_any_io(world: World) -> None:
    client, transport = mocked(world)
    for arguments, kind in ((("../x", TOKEN), oo.ProxyError), (("x", "a b"), oo.AuthenticationError)):
        with pytest.raises(kind):
            client.client.stream(*arguments)
    assert transport.requests == []


def test_send_gives_the_whole_response(world: World) -> None:
    headers = oo.Headers({"X-Request-Id": "abc"})
    client, _ = mocked(world, 503, Streamed([b'{"a": ', b"1}"], 201, headers), retries=1, backoff_factor=0)
    response = client.send("v1/x", TOKEN, payload={"b": 2})
    assert (response.status, response.request_id, response.json()) == (201, "abc", {"a": 1})
    assert [what for what, _ in response.timeline] == ["attempt", 503, "attempt", 201]


def test_the_json_of_a_response_that_has_none_is_the_operations_error(world: World) -> None:
    client, _ = mocked(world, b"<html>")
    with pytest.raises(oo.ProxyError):
        client.send("v1/x", TOKEN).json()


def test_leaving_a_stream_early_closes_its_connection(world: World) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as server:
        client = world.client(server.url)
        with opened(client) as response:
            assert taken(world, response.iter_bytes(), 1) == [b"one"]
        assert server.until(left=1)


def test_a_stream_read_to_its_end_gives_its_connection_back(world: World) -> None:
    whole = answer(b'{"value": "good"}')
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n0\r\n\r\n", READ, whole]) as server:
        client = world.client(server.url)
        with opened(client) as response:
            assert b"".join(taken(world, response.iter_bytes())) == b"one"
        assert client.get_secret(TOKEN) == "good"
        assert server.connections == 1


def test_a_stream_that_is_dropped_warns_and_gives_its_connection_back(world: World) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as server:
        client = world.client(server.url)
        stream = client.client.stream("v1/x", TOKEN)
        world.run(stream.__enter__ if world.blocking else stream.__aenter__)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del stream
            gc.collect()
        assert [str(each.message) for each in caught if "dropped unclosed" in str(each.message)]
        for _ in range(3):
            world.run(lambda: None)  # a loop closes its sockets when it comes round
        assert server.until(left=1)


def within(call: Callable[[], Any], seconds: float) -> oo.ProxyError:
    """The error of a call that its limit ends."""

    def failed() -> oo.ProxyError:
        with pytest.raises(oo.ProxyError) as caught:
            call()
        return caught.value

    return on_time(failed, seconds)


def test_a_stream_that_stalls_fails_after_its_timeout(world: World) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as server:
        client = world.client(server.url, 0.2)

        def call() -> None:
            with opened(client) as response:
                taken(world, response.iter_bytes())

        error = within(call, 0.2)
        assert (error.reason, error.retryable) == ("timeout", True)


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_an_error_that_drips_ends_a_stream_as_it_ends_a_call(world: World, limit: str) -> None:
    drip = [READ, head(b"Content-Length: 500", status=b"500 Oops"), Drip(b"x" * 500, 0.05)]
    with serving(drip) as server:
        client = world.client(server.url, **{"timeout": PATIENCE, limit: 0.2})

        def call() -> None:
            with opened(client):
                pass

        assert within(call, 0.2).reason == limit


def test_a_stream_may_take_longer_than_its_timeout_as_long_as_it_goes_on(world: World) -> None:
    body = b"Content-Length: 13"
    with serving([READ, head(body), Drip(b"0123456789abc", 0.1)]) as server:
        client = world.client(server.url, 1)
        with opened(client) as response:
            assert b"".join(taken(world, response.iter_bytes())) == b"0123456789abc"


def test_a_stream_ends_at_its_deadline(world: World) -> None:
    with serving([READ, head(b"Content-Length: 500"), Drip(b"x" * 500, 0.05)]) as server:
        client = world.client(server.url, deadline=0.3)

        def call() -> None:
            with opened(client) as response:
                taken(world, response.iter_bytes())

        assert within(call, 0.3).reason == "deadline"


@pytest.mark.parametrize("script", [[READ, SILENCE], [READ, Drip(head(b"X: y" * 200), 0.05)]], ids=["silent", "drip"])
def test_a_stream_whose_headers_do_not_come_fails_after_its_timeout(world: World, script: Any) -> None:
    with serving(script) as server:
        client = world.client(server.url, 0.2)

        def call() -> None:
            with opened(client):
                pass

        assert within(call, 0.2).reason == "timeout"


@pytest.mark.parametrize(
    "script",
    [
        [READ, head(b"Content-Length: 9"), b"short", CLOSE],
        [READ, head(b"Transfer-Encoding: chunked"), b"5\r\nshort\r\n", CLOSE],
        [
            READ,
            head(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip"),
            b"5\r\n\x1f\x8b\x08\x00\x00\r\n0\r\n\r\n",
        ],
    ],
    ids=["length", "chunked", "gzip"],
)
def test_a_stream_that_is_cut_short_is_an_error(world: World, script: Any) -> None:
    with serving(script) as server:
        client = world.client(server.url)
        with opened(client) as response, pytest.raises(oo.ProxyError) as caught:
            taken(world, response.iter_bytes())
        assert caught.value.reason == "connection"


def test_a_line_without_end_is_bounded(world: World) -> None:
    client, _ = mocked(world, Streamed([b"x" * 600, b"x" * 600]), max_response_bytes=1000)
    with opened(client) as response, pytest.raises(oo.ProxyError) as caught:
        taken(world, response.iter_lines())
    assert caught.value.reason == "size"
