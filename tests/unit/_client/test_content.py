"""What a call sends, over the wire, in both worlds; and what it refuses before any I/O."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from tests.support.faults import FaultServer, answer, serving
from tests.support.worlds import World

TOKEN = "a-token-for-contents"
FORM = "application/x-www-form-urlencoded"


def generated() -> Iterator[bytes]:
    yield b"one"
    yield b""
    yield bytearray(b"two")


async def generated_async() -> AsyncIterator[bytes]:
    yield b"one"
    yield memoryview(b"two")  # type: ignore[misc]  # as callers have them


def pipe() -> io.RawIOBase:
    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError

    return Pipe(b"onetwo")


def half_read() -> io.BytesIO:
    file = io.BytesIO(b"xxonetwo")
    file.seek(2)
    return file


# What is given, the body that comes, its Content-Type, whether its length was known.
SENT: dict[str, tuple[Callable[[], dict[str, Any]], bytes, str | None, bool]] = {
    "bytes": (lambda: {"data": b"onetwo"}, b"onetwo", None, True),
    "a bytearray": (lambda: {"data": bytearray(b"onetwo")}, b"onetwo", None, True),
    "text": (lambda: {"data": "\u00e9"}, b"\xc3\xa9", None, True),
    "no bytes": (lambda: {"data": b""}, b"", None, True),
    "a generator": (lambda: {"data": generated()}, b"onetwo", None, False),
    "a list": (lambda: {"data": [b"one", b"two"]}, b"onetwo", None, False),
    "an async generator": (lambda: {"data": generated_async()}, b"onetwo", None, False),
    "a file": (lambda: {"data": half_read()}, b"onetwo", None, True),
    "a pipe": (lambda: {"data": pipe()}, b"onetwo", None, False),
    "a Body": (lambda: {"data": oo.Body(generated_async(), length=6)}, b"onetwo", None, True),
    "a form": (
        lambda: {"data": {"a": "b c", "n": [1, 2.5], "t": True, "no": None}},
        b"a=b+c&n=1&n=2.5&t=true",
        FORM,
        True,
    ),
    "a form in pairs": (lambda: {"data": [("a", "b c"), ("a", 2), ("no", None)]}, b"a=b+c&a=2", FORM, True),
    "bytes as payload, with a type": (
        lambda: {"payload": b"a=1", "headers": {"content-type": "text/x-mine"}},
        b"a=1",
        "text/x-mine",
        True,
    ),
    "a type of one's own": (
        lambda: {"data": b"x", "headers": {"Content-Type": "text/x-mine"}},
        b"x",
        "text/x-mine",
        True,
    ),
    "JSON": (lambda: {"payload": {}}, b"{}", "application/json", True),
    "nothing": (dict, b"", None, True),
}


def split(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    fields = {name.lower(): value for name, value in fields.items()}
    if fields.get("transfer-encoding") == "chunked":
        pieces, rest = [], body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            pieces.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        body = b"".join(pieces)
    return fields, body


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(reply=lambda _request: answer(b"{}")) as running:
        yield running


@pytest.mark.parametrize(("given", "body", "kind", "known"), SENT.values(), ids=SENT)
def test_a_body_comes_as_it_was_given(
    world: World, server: FaultServer, given: Callable[[], dict[str, Any]], body: bytes, kind: str | None, known: bool
) -> None:
    client = world.client(server.url, plugins=False, timeout=5)
    assert client.proxy("v1/x", TOKEN, **given()) == {}
    fields, came = split(server.requests[-1])
    assert (came, fields.get("content-type")) == (body, kind)
    assert ("content-length" in fields) is known
    assert ("transfer-encoding" in fields) is not known


def test_an_iterator_is_never_gathered(world: World) -> None:
    drawn: list[int] = []

    def counting() -> Iterator[bytes]:
        for number in range(3):
            drawn.append(number)
            yield b"x"

    transport = MockTransport([{}])
    world.client("http://127.0.0.1:1", transport=transport, plugins=False).proxy("v1/x", TOKEN, data=counting())
    assert drawn == []
    assert isinstance(transport.requests[0].body, oo.Body)


@pytest.mark.parametrize(
    ("data", "again"),
    [(generated, False), (generated_async, False), (pipe, False), (half_read, True), (lambda: [b"one", b"two"], True)],
    ids=["a generator", "an async generator", "a pipe", "a file", "a list"],
)
def test_what_can_be_read_again_is_sent_again(world: World, data: Callable[[], Any], again: bool) -> None:
    async def reading(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        assert isinstance(request.body, oo.Body)
        bodies.append(b"".join([piece async for piece in request.body]))
        return await call_next(request)

    bodies: list[bytes] = []
    transport = MockTransport([503, {}], io=world.clock())
    chain = [oo.Retry(1), oo.ErrorMapping(), reading]
    client = world.client("http://127.0.0.1:1", middleware=chain, transport=transport)
    if again:
        assert client.proxy("v1/x", TOKEN, data=data()) == {}
        assert bodies == [b"onetwo"] * 2
        return
    with pytest.raises(oo.ProxyError):
        client.proxy("v1/x", TOKEN, data=data())
    assert bodies == [b"onetwo"]


@pytest.mark.parametrize("fields", [{"model": "whisper", "n": [1, 2]}, [("model", "whisper"), ("n", 1), ("n", 2)]])
def test_files_are_a_form_that_others_can_read(world: World, server: FaultServer, tmp_path: Path, fields: Any) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"\x00wave\r\n--")
    with path.open("rb") as file:
        files = {"file": file, 'od"d': ('a"b\r\n.txt', b"text", "text/x-mine"), "piped": (None, generated())}
        client = world.client(server.url, plugins=False, timeout=5)
        client.proxy("v1/audio", TOKEN, data=fields, files=files)
    fields, body = split(server.requests[-1])
    kind, _, boundary = fields["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    parts = body.split(b"--" + boundary.encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    read = [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [(head, data) for head, _, data in read] == [
        (b'Content-Disposition: form-data; name="model"', b"whisper"),
        (b'Content-Disposition: form-data; name="n"', b"1"),
        (b'Content-Disposition: form-data; name="n"', b"2"),
        (
            b'Content-Disposition: form-data; name="file"; filename="speech.wav"\r\nContent-Type: audio/x-wav',
            b"\x00wave\r\n--",
        ),
        (
            b'Content-Disposition: form-data; name="od%22d"; filename="a%22b%0D%0A.txt"\r\nContent-Type: text/x-mine',
            b"text",
        ),
        (
            b'Content-Disposition: form-data; name="piped"; filename="upload"\r\n'
            b"Content-Type: application/octet-stream",
            b"onetwo",
        ),
    ]


@pytest.mark.parametrize(
    ("path", "params", "target"),
    [
        ("v1/x", {"q": "a b\n", "n": [1, 2], "no": None}, "v1/x?q=a%20b%0A&n=1&n=2"),
        ("v1/x?a=1", {"b": "&="}, "v1/x?a=1&b=%26%3D"),
        ("v1/x?", {"b": True}, "v1/x?b=true"),
        ("v1/x", [("a", "1"), ("a", "\u00e9")], "v1/x?a=1&a=%C3%A9"),
        ("v1/x", {}, "v1/x"),
    ],
)
def test_params_join_the_query(world: World, path: str, params: Any, target: str) -> None:
    transport = MockTransport([{}])
    world.client("http://127.0.0.1:1", transport=transport, plugins=False).proxy(path, TOKEN, "GET", params=params)
    assert transport.requests[0].url == f"http://127.0.0.1:1/api/proxy/{target}"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "bytes as payload": ({"payload": b"canary"}, "data="),
    "an iterator as payload": ({"payload": iter([b"canary"])}, "data="),
    "payload and data": ({"payload": {}, "data": b"canary"}, "goes alone"),
    "payload and files": ({"payload": {}, "files": {"a": b"canary"}}, "goes alone"),
    "a number": ({"data": 5}, "data= must be bytes"),
    "a text file": ({"data": io.StringIO("canary")}, "mode 'rb'"),
    "files and bytes": ({"data": b"canary", "files": {"a": b"x"}}, "the other fields of the form"),
    "files and a type": ({"files": {"a": b"x"}, "headers": {"content-type": "multipart/form-data"}}, "Content-Type"),
    "a file of nothing": ({"files": {"a": None}}, "a file of files="),
    "a file of a path": ({"files": {"a": "canary.wav"}}, "open the file with mode 'rb', or give bytes"),
    "a file of a name and text": ({"files": {"a": ("a.txt", "canary")}}, "open the file"),
    "a field of another type": ({"data": {"a": object()}}, "text or a number"),
    "half a character": ({"data": {"a": "canary\ud800"}}, "half a character"),
    "params of another type": ({"params": 5}, "must be a mapping"),
    "half a character in params": ({"params": {"a": "canary\ud800"}}, "half a character"),
    "a timeout of none": ({"timeout": 0}, "timeout must be"),
    "a deadline that is text": ({"deadline": "5"}, "deadline must be"),
}


@pytest.mark.parametrize(("given", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sent_is_refused_in_words(world: World, given: dict[str, Any], why: str) -> None:
    transport = MockTransport([])
    client = world.client("http://127.0.0.1:1", transport=transport, plugins=False)
    for call in (client.proxy, client.send, client.stream):
        with pytest.raises(oo.ProxyError) as caught:
            call("v1/x", TOKEN, **given)
        assert caught.value.reason == "argument"
        assert why in str(caught.value)
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None
    assert transport.requests == []


def test_a_piece_that_is_no_bytes_is_the_calls_error(world: World, server: FaultServer) -> None:
    with pytest.raises(oo.ProxyError, match="a piece of the request's body is str") as caught:
        world.client(server.url, plugins=False, timeout=5).proxy("v1/x", TOKEN, data=iter(["canary"]))
    assert caught.value.reason == "body"


def test_a_call_has_limits_of_its_own(world: World) -> None:
    clock = world.clock()
    transport = MockTransport([{"value": "v"}, {}, {}, {}, {}], io=clock)
    client = world.client("http://127.0.0.1:1", transport=transport, plugins=False, deadline=9)
    client.get_secret(TOKEN, timeout=5, deadline=7)
    client.proxy("v1/x", TOKEN, deadline=8)
    client.chat_completion(TOKEN, [])
    client.image(TOKEN, "a cat", timeout=50)
    type(client)(world, client.client.with_options(timeout=20)).embed(TOKEN, [])
    limits = [(request.timeout, request.deadline) for request in transport.requests]
    assert limits == [(5, 7), (30, 8), (300, 9), (50, 9), (20, 9)]
    assert all(b"timeout" not in (request.body or b"") for request in transport.requests)  # type: ignore[operator]  # bytes


@pytest.mark.parametrize("status", [200, 304, 404, 401, 503])
def test_send_without_check_gives_any_status(world: World, status: int) -> None:
    transport = MockTransport([status] * 4, io=world.clock())
    client = world.client("http://127.0.0.1:1", transport=transport, plugins=False, retries=1)
    assert client.send("v1/x", TOKEN, check=False).status == status
    assert len(transport.requests) == (2 if status == 503 else 1)
    if status in (200, 304):
        assert client.send("v1/x", TOKEN).status == status
    else:
        with pytest.raises(oo.DoubleOError):
            client.send("v1/x", TOKEN)


def test_with_options_shares_the_connections_and_the_cache(world: World) -> None:
    transport = MockTransport([{"value": "v"}, 503, 503, {}], io=world.clock())
    client = world.client("http://127.0.0.1:1", transport=transport, plugins=False, cache=oo.SecretCache())
    assert client.get_secret(TOKEN, 60) == "v"
    other = type(client)(world, client.client.with_options(retries=2, timeout=3))
    assert other.get_secret(TOKEN, 60) == "v"
    assert other.proxy("v1/x", TOKEN) == {}
    assert (len(transport.requests), transport.requests[-1].timeout) == (4, 3)
    other.close()
    assert not transport.closed
    third = type(client)(world, client.client.with_options())
    client.close()
    assert transport.closed
    for closed in (other, third):
        with pytest.raises(oo.ProxyError, match="closed"):
            closed.proxy("v1/x", TOKEN)
    with pytest.raises(ValueError, match="no Retry"):
        oo.Client(middleware=[], transport=transport).with_options(retries=1)


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.parametrize("status", [200, 201, 202, 204, 205])
def test_a_success_without_a_body_is_none(world: World, status: int, body: bytes) -> None:
    transport = MockTransport(lambda request: oo.Response(status, body=body, request=request))
    client = world.client("http://127.0.0.1:1", transport=transport, plugins=False)
    assert client.proxy("v1/x", TOKEN) == (json.loads(body) if body else None)
