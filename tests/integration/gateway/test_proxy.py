"""What of a call goes upstream, what comes back, and where it may not lead."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

import oo.testing
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import CLOSE, READ, SILENCE, answer, head, nobody, serving
from tests.support.waiting import PATIENCE, on_time
from tests.support.wire import recording

KEY = 'the-real/key+"of" the API='
INJECT = {"X-Key": "{key}"}
LocalGateway = oo.testing.LocalGateway


def replying(reply: bytes) -> Callable[[bytes], bytes]:
    return lambda _request: reply


@pytest.mark.parametrize(
    ("allow", "method", "path", "allowed"),
    [
        ("POST /v1/*", "POST", "v1/chat", True),
        ("POST /v1/*", "GET", "v1/chat", False),
        ("POST /v1/*", "POST", "v2/chat", False),
        ("POST /v1/*", "POST", "v1", False),
        ("* /v1/*", "DELETE", "v1/a/b/c", True),
        ("GET /v1/models", "GET", "v1/models", True),
        ("GET /v1/models", "GET", "v1/models?limit=5", True),
        ("GET /v1/models", "GET", "v1/models/", False),
        ("GET /v1/models", "GET", "v1/models%3Flimit", False),
        ("GET /v1/models", "GET", "v1/%6Dodels", False),
        ("GET /v1/models", "OPTIONS", "v1/models", False),
        ("GET /v1/*", "GET", "v1%2Fmodels", False),
        ("GET /v1/*", "GET", "%76%31/models", False),
        ("GET /v1/*", "GET", "v1/a%2Fb", True),
        ("GET /v1/*/public", "GET", "v1/x/private%2Fpublic", False),
        ("GET /v1/*/public", "GET", "v1/x/private?/public", False),
        ("GET /v1/*/public", "GET", "v1/x/public", True),
        ("GET /*.json", "GET", "x.json", True),
        ("GET /*.json", "GET", "x%2Ejson", False),
    ],
)
def test_a_route_allows_what_fits_as_written_and_as_meant(
    gateway: LocalGateway, allow: str, method: str, path: str, allowed: bool
) -> None:
    with recording(replying(answer(b""))) as upstream:
        token = gateway.route("r", upstream.url, allow=(allow,))
        status = ask(gateway.url, method, f"/api/proxy/{path}", token)[0]
        assert (status, len(upstream.take())) == ((200, 1) if allowed else (403, 0))


def test_one_of_several_patterns_is_enough(gateway: LocalGateway) -> None:
    with recording(replying(answer(b""))) as upstream:
        token = gateway.route("r", upstream.url, allow=("GET /a", "POST /b"))
        calls = [("GET", "a"), ("POST", "b"), ("GET", "b"), ("POST", "a")]
        assert [ask(gateway.url, method, f"/api/proxy/{path}", token)[0] for method, path in calls] == [
            200,
            200,
            403,
            403,
        ]


def test_what_belongs_to_the_hop_behind_stays_there(gateway: LocalGateway) -> None:
    dropped = [
        b"Connection: X-Hop, keep-alive",
        b"X-Hop: 1",
        b"X_Hop: 2",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Trailer: X-Sum",
        b"Upgrade: h2c",
        b"Strict-Transport-Security: max-age=1",
        b'Alt-Svc: h3=":443"',
        b"Report-To: {}",
        b"NEL: {}",
        b'Reporting-Endpoints: a="https://x.example"',
        b"Clear-Site-Data: *",
        b"Set-Cookie: a=b",
        b"SET-COOKIE: c=d",
        b"Server: theirs",
        b"X-OO-Request-Id: theirs",
    ]
    with recording(replying(answer(b"{}", *dropped, b"X-Mine: 1", b"X-Mine: 2", b"ETag: W/x"))) as upstream:
        token = gateway.route("r", upstream.url)
        _, headers, _ = ask(gateway.url, "GET", "/api/proxy/x", token)
    names = {name.lower() for name in headers}
    assert not names & {line.split(b":")[0].decode().lower() for line in dropped} - {"server", "x-oo-request-id"}
    assert "theirs" not in str(headers)
    assert (headers.get_all("X-Mine"), headers["ETag"]) == (["1", "2"], "W/x")


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"])
def test_a_redirect_is_the_callers_to_follow(gateway: LocalGateway, status: bytes) -> None:
    with recording() as elsewhere:
        to = f"{elsewhere.url}/x"
        with recording(replying(answer(b"", b"Location: " + to.encode(), status=status))) as upstream:
            token = gateway.route("r", upstream.url)
            got, headers, _ = ask(gateway.url, "POST", "/api/proxy/x", token, b"{}")
            assert (got, headers["Location"], len(upstream.take())) == (int(status[:3]), to, 1)
        assert elsewhere.server.connections == 0


@pytest.mark.parametrize("where", ["v1/rel", "v1/abs", "v1/host"])
def test_a_redirect_within_the_upstream_leads_back_and_works(gateway: LocalGateway, where: str) -> None:
    def reply(request: bytes) -> bytes:
        to = {
            b"/base/v1/rel": "/base/v1/there/?a=1",
            b"/base/v1/abs": "{url}/v1/there/?a=1",
            b"/base/v1/host": "there/?a=1",
        }
        target = to.get(request.split(b" ")[1])
        if target is None:
            return answer(request.split(b" ")[1])
        return answer(b"", b"Location: " + target.format(url=f"{upstream.url}/base").encode(), status=b"307 Temporary")

    with recording(reply) as upstream:
        token = gateway.route("r", f"{upstream.url}/base", allow=("* /v1/*",))
        status, headers, _ = ask(gateway.url, "GET", f"/api/proxy/{where}", token)
        assert (status, headers["Location"]) == (307, "/api/proxy/v1/there/?a=1")
        assert ask(gateway.url, "GET", headers["Location"], token)[2] == b"/base/v1/there/?a=1"


def test_pages_that_a_link_names_lead_back(gateway: LocalGateway) -> None:
    link = '<{url}/items?page=2>; rel="next", <https://docs.example/items>; rel="help"; title="<{url}/no>"'

    def reply(_request: bytes) -> bytes:
        return answer(b"[]", b"Link: " + link.format(url=upstream.url).encode())

    with recording(reply) as upstream:
        token = gateway.route("r", upstream.url)
        _, headers, _ = ask(gateway.url, "GET", "/api/proxy/items", token)
        assert headers["Link"] == link.format(url=upstream.url).replace(f"<{upstream.url}/items", "</api/proxy/items")


# The value as servers write it: base64 at each of its three offsets, escapes in either case.
ECHOES = {
    "plain": KEY,
    "within a text": f"<{KEY}>{KEY}",
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded but for slashes": quote(KEY),
    "as a form": quote(KEY, safe="").replace("%20", "+"),
    "JSON-escaped": json.dumps({"key": KEY}),
    "JSON-escaped with slashes": json.dumps(KEY).replace("/", "\\/"),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 behind one byte": base64.b64encode(b"x" + KEY.encode() + b"yz").decode(),
    "base64 behind two bytes": base64.b64encode(b"xy" + KEY.encode() + b"z").decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"?" + KEY.encode() + b"?").decode(),
}


@pytest.mark.parametrize("where", ["header", "body", "gzip", "an error"])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_the_injected_value_is_masked_however_it_comes_back(gateway: LocalGateway, echo: str, where: str) -> None:
    replies = {
        "header": answer(b"{}", b"X-Echo: " + echo.encode()),
        "body": answer(echo.encode()),
        "gzip": answer(gzip.compress(echo.encode()), b"Content-Encoding: gzip"),
        "an error": answer(echo.encode(), status=b"401 Unauthorized"),
    }
    gateway.secret("key", KEY)
    with recording(replying(replies[where])) as upstream:
        token = gateway.route("r", upstream.url, INJECT)
        _, headers, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert upstream.take()[0].get("X-Key") == [KEY]
    found = headers["X-Echo"] if where == "header" else body.decode()
    assert "***" in found
    assert not any(part in found for part in ("the-real", "dGhlLXJlYWwv", "RoZS1yZWFsL2tl", "UaGUtcmVhbC9rZX"))


def test_what_basic_credentials_decode_to_is_masked(gateway: LocalGateway) -> None:
    gateway.secret("key", base64.b64encode(b"user:the-password").decode())
    echo = b'{"user": "user", "password": "the-password", "both": "user:the-password", "end": ":the-password"}'
    with recording(replying(answer(echo))) as upstream:
        token = gateway.route("r", upstream.url, {"Authorization": "Basic {key}"})
        found = json.loads(ask(gateway.url, "GET", "/api/proxy/x", token)[2])
    assert found == {"user": "user", "password": "***", "both": "***", "end": "***"}


def test_a_value_with_escapes_in_small_letters_is_masked(gateway: LocalGateway) -> None:
    gateway.secret("key", "Key/With+Capitals")
    with recording(replying(answer(b"Key%2fWith%2bCapitals"))) as upstream:
        token = gateway.route("r", upstream.url, INJECT)
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[2] == b"***"


@pytest.mark.parametrize(
    "script",
    [
        [READ, SILENCE],
        [READ, b"HTTP/1.1 200 OK\r\n", SILENCE],
        [READ, head(b"Content-Length: 5"), SILENCE],
        [READ, head(b"Transfer-Encoding: chunked"), SILENCE],
    ],
    ids=["nothing", "half a head", "no body", "no chunk"],
)
def test_a_hung_upstream_is_a_504_at_the_routes_timeout(gateway: LocalGateway, script: Any) -> None:
    with serving(script) as upstream:
        token = gateway.route("slow", upstream.url, timeout=0.15)
        status, headers, body = on_time(lambda: ask(gateway.url, "GET", "/api/proxy/x", token), 0.15)
        assert (status, headers["Content-Type"]) == (504, "application/json"), body
        assert upstream.until(left=1)


@pytest.mark.parametrize(
    "script",
    [
        [READ, CLOSE],
        [READ, b"nonsense\r\n\r\n", CLOSE],
        [READ, head(b"Content-Length: 1", b"Content-Length: 2"), b"ab", CLOSE],
        [READ, head(b"Content-Length: 2", b"Content-Encoding: br"), b"ab", CLOSE],
        [READ, head(b"Upgrade: x", b"Connection: upgrade", status=b"101 Switching Protocols"), b"ab", CLOSE],
    ],
    ids=["no answer", "nonsense", "two lengths", "a coding not asked for", "another protocol"],
)
def test_an_upstream_that_makes_no_sense_is_a_502(gateway: LocalGateway, script: Any) -> None:
    gateway.secret("key", "a-real-key-55")
    with serving(script) as upstream:
        token = gateway.route("broken", upstream.url, {"X-Key": "{key}"}, timeout=PATIENCE)
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 502


def test_a_refused_upstream_is_a_502(gateway: LocalGateway) -> None:
    with nobody() as url:
        token = gateway.route("gone", url)
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
    assert status == 502
    assert url not in body["error"]["message"]


def test_a_caller_that_leaves_takes_the_upstream_call_with_it(gateway: LocalGateway) -> None:
    with serving([READ, SILENCE]) as upstream:
        token = gateway.route("r", upstream.url)
        caller = http.client.HTTPConnection(urlsplit(gateway.url).netloc)
        caller.request("POST", "/api/proxy/x", b"{}", {"Authorization": f"Bearer {token}"})
        assert upstream.until(requests=1)
        caller.close()
        assert upstream.until(left=1)


@pytest.mark.parametrize("size", [999, 1000])
def test_a_body_has_a_limit(gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("oo.gateway.fronts.body_reader.MAX_BODY", 999)
    with recording(replying(answer(b""))) as upstream:
        token = gateway.route("r", upstream.url)
        expected = (200, 1) if size == 999 else (413, 0)
        assert (ask(gateway.url, "POST", "/api/proxy/x", token, b"x" * size)[0], len(upstream.take())) == expected
        pieces = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=PATIENCE)
        body = (b"x" * 333 for _ in range(4 if size > 999 else 3))
        pieces.request("POST", "/api/proxy/x", body, {"Authorization": f"Bearer {token}"}, encode_chunked=True)
        assert (pieces.getresponse().status, len(upstream.take())) == expected
        pieces.close()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        (b"gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"identity", bytes),
        (b"GZIP", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    ],
)
def test_a_compressed_answer_comes_unpacked(gateway: LocalGateway, coding: bytes, pack: Callable[..., bytes]) -> None:
    body = b'{"text": "hello"}' * 10000
    with recording(replying(answer(pack(body), b"Content-Encoding: " + coding))) as upstream:
        gateway.secret("key", "a-real-key-55")
        token = gateway.route("r", upstream.url, {"X-Key": "{key}"})
        _, headers, got = ask(gateway.url, "GET", "/api/proxy/x", token, Accept_Encoding="br, zstd")
        (seen,) = upstream.take()
    assert got == body
    assert "Content-Encoding" not in headers
    assert seen.get("Accept-Encoding") == ["gzip, deflate"]


@pytest.mark.parametrize("status", [b"200 OK", b"206 Partial Content"])
@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown", "none"])
def test_a_coding_passes_as_it_came_where_nothing_is_injected(
    gateway: LocalGateway, coding: str, status: bytes
) -> None:
    body = b"\x00 whatever it is \xff" * 999
    with recording(replying(answer(body, f"Content-Encoding: {coding}".encode(), status=status))) as upstream:
        token = gateway.route("r", upstream.url)
        got, headers, came = ask(gateway.url, "GET", "/api/proxy/x", token, Accept_Encoding="br, zstd")
        (seen,) = upstream.take()
    assert (got, headers["Content-Encoding"], came) == (int(status[:3]), coding, body)
    assert (headers["X-OO-Source"], seen.get("Accept-Encoding")) == ("upstream", ["br, zstd"])


def test_an_upstream_cannot_pass_for_the_gateway(gateway: LocalGateway) -> None:
    with recording(replying(answer(b"{}", b"X-OO-Source: gateway", status=b"401 Unauthorized"))) as upstream:
        token = gateway.route("r", upstream.url)
        with pytest.raises(oo.ProxyError, match="the API refused the credential") as caught:
            oo.proxy("x", token, base_url=gateway.url)
        _, headers, _ = ask(gateway.url, "GET", "/api/proxy/x", token)
    assert caught.value.status == 401
    assert headers["X-OO-Source"] == "upstream"


def test_the_length_that_head_tells_of_comes_back(gateway: LocalGateway) -> None:
    with serving([READ, head(b"Content-Length: 1234", b"Content-Type: text/plain"), SILENCE]) as upstream:
        token = gateway.route("r", upstream.url, timeout=PATIENCE)
        status, headers, body = ask(gateway.url, "HEAD", "/api/proxy/x", token)
    assert (status, headers.get_all("Content-Length"), body) == (200, ["1234"], b"")


@pytest.mark.parametrize(
    ("sent", "got"), [(b"caf\xe9", "café"), ("naïve €".encode(), "naïve €"), (b"a\tb", "a\tb"), (b"", "")]
)
def test_an_odd_header_of_the_upstream_breaks_nothing(gateway: LocalGateway, sent: bytes, got: str) -> None:
    with recording(replying(answer(b"{}", b"X-Odd: " + sent))) as upstream:
        token = gateway.route("r", upstream.url)
        status, headers, _ = ask(gateway.url, "GET", "/api/proxy/x", token)
    assert (status, headers["X-Odd"].encode("latin-1").decode()) == (200, got)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"205 Reset Content"])
def test_an_answer_without_a_body_has_none(gateway: LocalGateway, status: bytes) -> None:
    with serving([READ, head(b"X-A: b", b"Content-Length: 0", status=status)]) as upstream:
        token = gateway.route("r", upstream.url, timeout=PATIENCE)
        got, headers, body = ask(gateway.url, "GET", "/api/proxy/x", token)
    assert (got, headers["X-A"], body) == (int(status[:3]), "b", b"")


@pytest.mark.parametrize(
    "host",
    (
        "127.0.0.1 localhost 127.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 0.0.0.0 0 127.0.0.1. "
        "LOCALHOST [::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::] 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 "
        "100.64.0.1 [fe80::1] [fc00::1] [64:ff9b::7f00:1] [2002:7f00:1::] [::7f00:1] [fec0::1] 224.0.0.1 "
        "255.255.255.255"
    ).split(),
)
def test_a_private_address_is_refused_unless_the_route_allows_it(gateway: LocalGateway, host: str) -> None:
    with recording() as upstream:
        url = f"http://{host}:{upstream.server.port}"
        token = gateway.route("r", url, allow_private=False, timeout=PATIENCE)
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert (status, "private" in body["error"]["message"]) == (502, True), body
        assert upstream.server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_reached_where_the_route_allows_it(gateway: LocalGateway, host: str) -> None:
    with recording(replying(answer(b"{}"))) as upstream:
        token = gateway.route("r", f"http://{host}:{upstream.server.port}", allow_private=True)
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 200


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_is_refused(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    real = socket.getaddrinfo

    def resolved(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "innocent.example":
            return real(host, port, *args, **kwargs)
        return [found for each in addresses for found in real(each, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with recording(replying(answer(b"{}"))) as upstream:
        url = f"http://innocent.example:{upstream.server.port}"
        token = gateway.route("r", url, allow_private=False, timeout=PATIENCE)
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 502
        assert upstream.server.connections == 0


def test_a_forward_proxy_may_be_at_a_private_address_and_what_it_is_not_for_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with recording(replying(answer(b"{}"))) as proxy, recording() as upstream:
        monkeypatch.setenv("http_proxy", f"localhost:{proxy.server.port}")
        monkeypatch.setenv("https_proxy", "http://no:port")
        monkeypatch.setenv("no_proxy", "localhost")
        with oo.testing.gateway() as gateway:
            token = gateway.route("r", "http://one.example", allow_private=False)
            assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 200
            token = gateway.route("direct", f"http://localhost:{upstream.server.port}", allow_private=False)
            assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 502
            # The default port, which a host of no_proxy must not be taken for a proxy's at.
            token = gateway.route("plain", "http://localhost", allow_private=False)
            assert "private" in ask(gateway.url, "GET", "/api/proxy/x", token)[2]["error"]["message"]
        (request,) = proxy.server.requests
        assert request.startswith(b"GET http://one.example/x HTTP/1.1\r\n")
        assert upstream.server.connections == 0


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "naïve", "", " a", "a ", "\x7f"])
def test_a_secret_that_cannot_be_a_header_goes_nowhere(gateway: LocalGateway, value: str) -> None:
    gateway.secret("key", value)
    with recording() as upstream:
        token = gateway.route("r", upstream.url, INJECT)
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert (status, upstream.server.connections) == (502, 0)
    assert "X-Key" in body["error"]["message"]
    assert len(value) < 3 or value not in body["error"]["message"]


def test_a_token_that_is_used_too_often_is_told_when_to_come_again(gateway: LocalGateway) -> None:
    from oo.gateway.models import Rate

    with recording(replying(answer(b"{}"))) as upstream:
        gateway.route("r", upstream.url)
        token = gateway.issue("route", "r", rate=Rate(1, 30))
        answers = [ask(gateway.url, "GET", "/api/proxy/x", token) for _ in range(2)]
    assert [status for status, _, _ in answers] == [200, 429]
    assert answers[1][1]["Retry-After"] in ("29", "30")
