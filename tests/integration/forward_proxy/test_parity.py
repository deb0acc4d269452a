"""One request by base URL and by tunnel: the same bytes upstream, the same answer, idempotency and mask, the same line
of the audit."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from oo.gateway.audit_log import AuditLog
from oo.testing import BackgroundLoop
from tests.support import tunnels
from tests.support.names import resolving
from tests.support.private_hosts import ADDRESSES, OverTLS, PrivateCA
from tests.support.tunnels import Proxied, head_of

from .conftest import KEY


class Asked(NamedTuple):
    """A request: a method, a path with its query, headers and a body. `keyed`: it is made twice, with one key."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunked: bool = False


JSON = ("Content-Type", "application/json")
KEYED = ("Idempotency-Key", "k-1")
_FIELDS = [
    ("Accept", "*/*"),
    ("User-Agent", "parity/1"),
    ("X-Request-Id", "mine"),
    ("Range", "bytes=0-3"),
    ("Cookie", "a=b"),
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Remote-User", "root"),
    ("Connection", "X-Hop"),
    ("TE", "trailers"),
    ("Accept-Encoding", "gzip, br"),
    ("Content-Language", "de"),
    ("If-None-Match", '"e"'),
    ("Origin", "https://app.test"),
    ("X-Api-Key", "the-programs-own"),
    ("Via", "1.1 a"),
    ("Forwarded", "for=1.2.3.4"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-OO-Anything", "x"),
    ("Git-Protocol", "version=2"),
    ("Prefer", "wait=1"),
]
REQUESTS = [
    *(Asked("GET", f"/echo?field={number}", (field,)) for number, field in enumerate(_FIELDS)),
    *(Asked(method, "/echo", (JSON,), b'{"a": 1}') for method in ("POST", "PUT", "PATCH", "DELETE")),
    *(Asked(method, "/echo") for method in ("HEAD", "OPTIONS", "DELETE", "POST", "TRACE", "get", "BREW-1")),
    *(
        Asked("GET", path)
        for path in (
            *(
                "/",
                "/echo?a=b&a=c&d",
                "/a%20b/c%2Fd?e=%26",
                "/caf%C3%A9",
                "/a/../b",
                "/a/%2e%2e/b",
                "/a//b",
                "/.",
                "/%",
            ),
            *("/echo?key=x", "/echo?q=%0A", "/a;b=c/d", "/:x@y", "/a?b?c", "/denied/x", "/status/404"),
            *("/status/401", "/status/500", "/status/302", "/status/204", "/status/304", "/leak", "/leak-header"),
            *("/stream", "/gzip", "/cookie", "/link"),
        )
    ),
    Asked("POST", "/echo", (JSON, KEYED), b'{"once": true}'),
    Asked("POST", "/echo", (KEYED,), b"other"),
    Asked("POST", "/stream", (("Idempotency-Key", "k-2"),), b"x"),
    Asked("POST", "/echo", (("Content-Type", "text/plain"),), b"in pieces", True),
    Asked("POST", "/echo", (("Expect", "nothing"),), b"x"),
    Asked("POST", "/echo", (("Content-Type", "application/octet-stream"),), bytes(range(256)) * 512),
]


def test_there_are_sixty() -> None:
    assert len(REQUESTS) >= 60


class Recorder(OverTLS):
    """Notes the bytes of each request, and answers by its path."""

    def __init__(self, tls: Any) -> None:
        super().__init__(tls)
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = b"".join([piece async for piece in request.content.iter_any()])
        fields = [(n, v) for n, v in request.headers.items() if n not in ("X-Request-ID", "X-OO-Request-Id")]
        self.seen.append((request.method, request.raw_path, fields, body))
        place = request.path
        if place.startswith("/status/"):
            status = int(place.rpartition("/")[2])
            fields_of = {"Location": f"{self.url}/echo"} if status == 302 else {}
            return web.Response(status=status, headers={**fields_of, "WWW-Authenticate": "Basic"})
        if place == "/leak":
            return web.Response(text=f"a {KEY} b {KEY}")
        if place == "/leak-header":
            return web.Response(headers={"X-Leak": KEY})
        if place == "/cookie":
            return web.Response(headers={"Set-Cookie": "a=b", "Strict-Transport-Security": "max-age=1"})
        if place == "/link":
            return web.Response(headers={"Link": f'<{self.url}/echo?page=2>; rel="next"'})
        if place == "/gzip":
            made = web.Response(text="compressed " * 100)
            made.enable_compression(web.ContentCoding.gzip)
            return made
        if place == "/stream":
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            for piece in ("data: one\n\n", f"data: {KEY}\n\n", "data: [DONE]\n\n"):
                await answer.write(piece.encode())
            return answer
        return web.json_response({"method": request.method, "size": len(body)}, headers={"ETag": '"e"'})


class Lines:
    """Where the audit's lines go."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def check(self) -> None:
        pass

    reopen = close = check


class Front(NamedTuple):
    """What one front gave: of each request its answer, what the upstream saw, and the lines of the audit."""

    answers: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]]
    seen: list[tuple[str, str, list[tuple[str, str]], bytes]]
    audit: list[dict[str, Any]]


def ask(sock: socket.socket, asked: Asked, host: str, target: str, own: str) -> tuple[bytes, Any, bytes]:
    fields = [("Host", host), *asked.fields]
    if own:
        fields.append(("Authorization", f"Bearer {own}"))
    body = asked.body
    if asked.chunked:
        fields.append(("Transfer-Encoding", "chunked"))
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:3], body[3:])) + b"0\r\n\r\n"
    elif body or asked.method == "POST":
        fields.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    sock.sendall(f"{asked.method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return _answer(sock, asked.method)


def _answer(sock: socket.socket, method: str) -> tuple[bytes, Any, bytes]:
    head = head_of(sock)
    status, *lines = head.split(b"\r\n")[:-2]
    fields = [tuple(line.split(b": ", 1)) for line in lines]
    known = {name.lower(): value for name, value in fields}  # type: ignore[misc]
    body = b""
    if method != "HEAD" and status.split(b" ")[1] not in (b"204", b"304"):
        if known.get(b"transfer-encoding") == b"chunked":
            body = _chunks(sock)
        else:
            while len(body) < int(known.get(b"content-length", b"0")) and (piece := sock.recv(1 << 16)):
                body += piece
    kept = [pair for pair in fields if pair[0].lower() not in _OF_ITS_OWN]
    return status, kept, body


_OF_ITS_OWN = (b"x-oo-request-id", b"x-request-id", b"date", b"connection")


def _chunks(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        piece = sock.recv(1 << 16)
        assert piece
        data += piece
    return b"".join(re.findall(rb"(?:\A|\r\n)[0-9a-f]+\r\n(.*?)(?=\r\n(?:[0-9a-f]+\r\n))", data, re.DOTALL))


def made_by(front: str, authority: PrivateCA, directory: Path) -> Front:
    answers = []
    with BackgroundLoop() as background:
        upstream = background.enter(Recorder(authority.context()))
        sink = Lines()
        audit = AuditLog(sink)
        with tunnels.gateway(audit=audit) as gateway:
            gateway.secret("key", KEY)
            allow = ("* /echo", "GET /[!d]*", "POST /stream", "GET /")
            token = gateway.route("api", upstream.url, {"Authorization": "Bearer {key}"}, ca=authority.pem, allow=allow)
            proxied = Proxied(gateway, token, directory)
            place = f"api.test:{upstream.port}"
            for asked in [each for each in REQUESTS for _ in range(2 if KEYED in each.fields else 1)]:
                if front == "tunnel":
                    with proxied.tunnel(place) as tls:
                        answers.append(ask(tls, asked, place, asked.path, ""))
                else:
                    with proxied.socket() as sock:
                        answers.append(ask(sock, asked, "gateway", f"/api/proxy{asked.path}", token))
        audit.close()
        seen = [(*each[:2], [_host(field) for field in each[2]], each[3]) for each in upstream.seen]
    lines = [json.loads(line) for line in sink.lines]
    return Front([_placed(answer, upstream.port) for answer in answers], seen, [_line(line) for line in lines])  # type: ignore[misc]


def _host(field: tuple[str, str]) -> tuple[str, str]:
    return ("Host", "api.test") if field[0] == "Host" else field


def _placed(answer: tuple[bytes, Any, bytes], port: int) -> tuple[bytes, Any, bytes]:
    """An answer whose URLs lead back to either front."""
    status, fields, body = answer
    led = [(name, value.replace(b"/api/proxy/", b"/")) for name, value in fields]
    return status, led, body.replace(str(port).encode(), b"PORT")


def _line(line: dict[str, Any]) -> dict[str, Any]:
    own = ("time", "request_id", "ms", "token_id", "upstream_request_id", "upstream")
    return {name: value for name, value in line.items() if name not in own}


@pytest.fixture
def fronts(authority: PrivateCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Front]:
    resolving(monkeypatch, ADDRESSES)
    found = {}
    for front in ("base URL", "tunnel"):
        directory = tmp_path / front
        directory.mkdir()
        found[front] = made_by(front, authority, directory)
    return found


def test_a_tunnel_is_the_base_urls_equal(fronts: dict[str, Front]) -> None:
    by_base_url, by_tunnel = fronts.values()
    asked = [each for each in REQUESTS for _ in range(2 if KEYED in each.fields else 1)]
    for request, one, other in zip(asked, by_base_url.answers, by_tunnel.answers, strict=True):
        assert one == other, request
    assert by_base_url.seen == by_tunnel.seen
    assert len(by_base_url.seen) > 45
    calls = [line for line in by_tunnel.audit if line["operation"] == "proxy"]
    assert calls == [line for line in by_base_url.audit if line["operation"] == "proxy"]
    opened = [line for line in by_tunnel.audit if line["operation"] == "tunnel"]
    assert {(line["method"], line["outcome"], line["status"]) for line in opened} == {("CONNECT", "allowed", 200)}
    assert len(opened) == len(asked)
    assert KEY not in str(by_tunnel.answers)
