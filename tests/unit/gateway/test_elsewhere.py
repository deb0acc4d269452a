from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from oo._http.body import Body
from oo._http.request import Request
from oo.gateway import elsewhere
from oo.gateway.capacity import Busy, Capacity
from oo.gateway.context import GatewayContext
from oo.gateway.destinations import Destination
from oo.gateway.elsewhere import Elsewhere
from oo.gateway.errors import AuditFailed, GatewayError
from oo.gateway.open_calls import OpenCalls
from oo.gateway.vault import Vault
from tests.support.names import resolving
from tests.support.stores import Notes

NAMES: dict[str, list[tuple[str, int] | str]] = {
    "public.test": ["8.8.8.8"],
    "private.test": ["10.1.2.3"],
    "mixed.test": ["10.1.2.3", "8.8.8.8"],
}


def connect(host: str, port: int = 443, body: Body | None = None) -> Request:
    context = GatewayContext()
    context.token_id, context.destination = "t", Destination("https", host, port, ())
    context.local = ("9.9.9.9", 443)
    return Request("CONNECT", f"{host}:{port}", body=body, context=context)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def beyond(vault: Vault, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Elsewhere]:
    """Where 8.8.8.8 is an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            if data == b"bye":
                break
        writer.close()

    resolving(monkeypatch, NAMES)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port, real = server.sockets[0].getsockname()[1], asyncio.open_connection

    async def open_connection(host: str, _port: int, **settings: object) -> object:
        if host != "8.8.8.8":
            raise OSError
        return await real("127.0.0.1", port, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("oo.gateway.elsewhere.asyncio.open_connection", open_connection)
    calls = OpenCalls(vault)
    made = Elsewhere(Capacity(4), calls, notes)
    yield made
    await made.close()
    await calls.close()
    server.close()


@pytest.mark.parametrize(
    ("host", "port", "status", "why"),
    [
        ("public.test", 444, 403, "port 443 alone"),
        ("private.test", 443, 403, "no public address"),
        ("127.0.0.1", 443, 403, "no public address"),
        ("9.9.9.9", 443, 403, "the gateway itself"),
        ("1.1.1.1", 443, 502, "cannot be connected to"),
        ("nowhere.invalid", 443, 502, "has no address"),
    ],
)
async def test_what_it_does_not_lead_to(
    host: str, port: int, status: int, why: str, beyond: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host == "nowhere.invalid":
        monkeypatch.setattr(socket, "getaddrinfo", _unknown)
    for _ in range(9):  # none of which keeps a place
        with pytest.raises(GatewayError, match=why) as caught:
            await beyond.send(connect(host, port))
        assert caught.value.status == status


async def test_the_audit_has_its_beginning_before_anything_is_sent(beyond: Elsewhere, notes: Notes) -> None:
    with pytest.raises(GatewayError):
        await beyond.send(connect("private.test"))
    assert notes.begun == []
    request = connect("public.test")
    (await beyond.send(request)).abort()
    assert notes.begun == [request.context.id]
    notes.refusing = AuditFailed()
    for _ in range(9):
        with pytest.raises(AuditFailed):
            await beyond.send(connect("1.1.1.1"))


def _unknown(*_: object, **__: object) -> object:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


@pytest.mark.parametrize("host", ["public.test", "mixed.test"])
async def test_bytes_pass_both_ways_until_the_other_end_closes(host: str, beyond: Elsewhere) -> None:
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def spoken() -> AsyncIterator[bytes]:
        while True:
            yield await said.get()

    request = connect(host, body=Body(spoken()))
    response = await beyond.send(request)
    assert response.stream is not None
    pieces = aiter(response.stream)
    for data in (b"\x16\x03", b"bye"):
        said.put_nowait(data)
        assert await anext(pieces) == data
    assert await anext(pieces, None) is None
    assert request.context.bytes_in == 5  # type: ignore[attr-defined]


async def test_it_holds_a_place_until_it_ends(beyond: Elsewhere) -> None:
    held = [await beyond.send(connect("public.test")) for _ in range(3)]  # three quarters are one token's
    with pytest.raises(Busy):
        await beyond.send(connect("public.test"))
    held[0].abort()
    held.append(await beyond.send(connect("public.test")))
    for each in held:
        each.abort()
        each.abort()


async def test_it_ends_where_nothing_passes(beyond: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "IDLE", 0.05)
    response = await beyond.send(connect("public.test"))
    assert response.stream is not None
    assert [piece async for piece in response.stream] == []
