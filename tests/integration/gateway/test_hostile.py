"""Hostile requests, byte by byte: what each gets, and what none of them may ever do. Then good ones, which all pass."""

from __future__ import annotations

import base64
import gzip
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

import pytest

import oo.testing
from tests.support.waiting import PATIENCE
from tests.support.wire import Answer, Recorder, Seen, converse, one, recording

KEY = "the-real-key-of-the-upstream"
INNER = b"GET /api/proxy/v1/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
BARE = b"GET /base/v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


class Site(NamedTuple):
    """A gateway whose route leads to `upstream`'s /base, and `decoy`, where nothing may lead."""

    gateway: oo.testing.LocalGateway
    token: str
    upstream: Recorder
    decoy: Recorder

    def send(self, raw: bytes, patience: float = PATIENCE, last: bool = True) -> list[Answer]:
        for name, value in (("token", self.token), ("decoy", self.decoy.netloc), ("host", self.gateway.url[7:])):
            raw = raw.replace(b"{%b}" % name.encode(), value.encode())
        return converse(self.gateway.url, raw, patience, last)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with recording() as upstream, recording() as decoy, oo.testing.gateway() as gateway:
        gateway.secret("key", KEY)
        injected = {"Authorization": "Bearer {key}", "X-Upstream-Key": "{key}"}
        token = gateway.route("api", f"{upstream.url}/base", injected, allow=("* /v1/*",), timeout=PATIENCE)
        yield Site(gateway, token, upstream, decoy)


def request(
    target: bytes = b"v1/x",
    *fields: bytes,
    method: bytes = b"GET",
    body: bytes = b"",
    host: bytes = b"Host: {host}",
    auth: bytes = b"Authorization: Bearer {token}",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """A request; a target without a leading slash or scheme is below /api/proxy/."""
    where = target if re.match(rb"/|\*|[a-z]+:|\{", target) or not target else b"/api/proxy/" + target
    head = [b" ".join((method, where, version)), host, auth, *fields]
    return b"\r\n".join(line for line in head if line) + b"\r\n\r\n" + body


def post(body: bytes, *fields: bytes, target: bytes = b"v1/x") -> bytes:
    return request(target, *fields, method=b"POST", body=body)


def sized(body: bytes, *fields: bytes) -> bytes:
    return post(body, b"Content-Length: %d" % len(body), *fields)


def chunked(body: bytes, *fields: bytes) -> bytes:
    return post(body, b"Transfer-Encoding: chunked", *fields)


OK, BAD, NO, GONE, LATE = {200}, {400}, {401}, {404}, set[int]()

# What each is, the bytes, and the statuses it may get; none where it gets no answer at all.
HOSTILE: dict[str, tuple[bytes, set[int]]] = {
    # Paths that would leave the route.
    "up": (request(b"../x"), BAD),
    "up and up": (request(b"v1/../../secret"), BAD),
    "up at the end": (request(b"v1/.."), BAD),
    "here": (request(b"v1/./x"), BAD),
    "up, encoded": (request(b"v1/%2e%2e/admin"), BAD),
    "up, half encoded": (request(b"v1/.%2E/admin"), BAD),
    "up, encoded twice": (request(b"v1/%252e%252e/admin"), BAD),
    "up, encoded three times": (request(b"v1/%25252e%25252e/admin"), BAD),
    "up behind an encoded slash": (request(b"v1/..%2fadmin"), BAD),
    "up between encoded slashes": (request(b"v1%2f..%2f..%2fadmin"), BAD),
    "up with a parameter": (request(b"v1/..;/admin"), BAD),
    "up with an encoded parameter": (request(b"v1/..%3bx/admin"), BAD),
    "up with a space": (request(b"v1/..%20/admin"), BAD),
    "up with a tab": (request(b"v1/..%09/admin"), BAD),
    "up with a NUL": (request(b"v1/..%00/admin"), BAD),
    "a backslash": (request(b"v1\\..\\admin"), BAD),
    "a backslash, encoded": (request(b"v1/%5c..%5cadmin"), BAD),
    "a backslash, encoded twice": (request(b"v1/%255cadmin"), BAD),
    "a path outside": (request(b"admin"), {403}),
    "a path outside in capitals": (request(b"V1/x"), {403}),
    "a path outside, an encoded way inside": (request(b"%76%31/x"), {403}),
    "an encoded slash in the place of the allowed one": (request(b"v1%2fx"), {403}),
    "nothing": (request(b"/api/proxy/"), {403}),
    "no slash": (request(b"/api/proxy"), {403}),  # the root of the API, which the route does not allow
    "the prefix in capitals": (request(b"/API/proxy/v1/x"), GONE),
    "the prefix, encoded": (request(b"/api%2fproxy/v1/x"), GONE),
    "the prefix climbed over": (request(b"/x/../api/proxy/v1/x"), GONE),
    "the prefix with two slashes": (request(b"/api//proxy/v1/x"), GONE),
    "a secret with the token of a route": (request(b"/api/secret"), NO),
    "an environment with the token of a route": (request(b"/api/env"), NO),
    "up in overlong UTF-8": (request(b"v1/%c0%ae%c0%ae/admin"), {403}),
    "up behind a slash in overlong UTF-8": (request(b"v1/..%c0%afadmin"), {403}),
    "up in fullwidth characters": (request(b"v1/%ef%bc%8e%ef%bc%8e%ef%bc%8fadmin"), {403}),
    "up around a blank": (request(b"v1/.%20./admin"), {403}),
    "up in Microsoft's escapes, escaped": (request(b"v1/%25u002e%25u002e/admin"), {403}),
    "a NUL": (request(b"v1/x%00.json"), BAD),
    "a raw NUL": (request(b"v1/x\0"), BAD),
    "a raw control character": (request(b"v1/\x01"), BAD),
    "a CRLF, encoded": (request(b"v1/x%0d%0aX-Evil:%201"), BAD),
    "a CRLF, encoded twice": (request(b"v1/x%250d%250aX-Evil:%201"), BAD),
    "an escape that is none": (request(b"v1/%zz"), BAD),
    "half an escape": (request(b"v1/x%2"), BAD),
    "an escape of Microsoft's": (request(b"v1/%u002e%u002e/x"), BAD),
    "bytes that are no UTF-8": (request(b"v1/\xff\xfe"), BAD),
    "a very long path": (request(b"v1/" + b"a" * 17000), {414}),
    # Request targets.
    "another host in the path": (request(b"//{decoy}/v1/x"), GONE),
    "another host behind the prefix": (request(b"/api/proxy///{decoy}/v1/x"), BAD),
    "another host behind one slash": (request(b"/api/proxy//{decoy}/v1/x"), {403}),
    "a URL behind the prefix": (request(b"/api/proxy/http://{decoy}/v1/x"), BAD),
    "a URL behind the prefix, encoded": (request(b"/api/proxy/http:%2f%2f{decoy}/v1/x"), BAD),
    "another scheme": (request(b"/api/proxy/file:/v1/x"), BAD),
    "another scheme behind a slash": (request(b"/api/proxy//file:/v1/x"), BAD),
    "a user before the host": (request(b"/api/proxy/@{decoy}/v1/x"), {403}),
    "the absolute form": (request(b"http://{decoy}/api/proxy/v1/x"), OK),
    "the absolute form of the gateway": (request(b"http://{host}/api/proxy/v1/x"), OK),
    "the absolute form, out of the route": (request(b"http://{host}/api/proxy/v1/../x"), BAD),
    "the absolute form for a proxy": (
        request(b"http://{decoy}/api/proxy/v1/x", b"Proxy-Authorization: Bearer {token}"),
        {403},  # the route goes elsewhere
    ),
    "the absolute form with a user": (request(b"http://a@{host}/api/proxy/v1/x"), GONE | BAD),
    "the absolute form of another scheme": (request(b"ftp://{decoy}/api/proxy/v1/x"), GONE | BAD),
    "the authority form": (request(b"{decoy}"), GONE | BAD),
    "the asterisk form": (request(b"*", method=b"OPTIONS"), GONE | BAD),
    "the asterisk form with GET": (request(b"*"), GONE | BAD),
    "a fragment": (request(b"v1/x#part"), BAD),
    "a fragment in the query": (request(b"v1/x?a=1#part"), BAD),
    "an empty target": (request(b""), BAD),
    "a space in the target": (request(b"v1/x y"), BAD),
    "a tab in the target": (request(b"v1/x\ty"), BAD),
    "a target without a slash": (
        b"GET api/proxy/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        BAD,
    ),
    # Methods and versions.
    "CONNECT": (request(b"{decoy}", method=b"CONNECT"), GONE | BAD),
    "CONNECT to a path": (request(method=b"CONNECT"), {400, 405}),
    "TRACE": (request(method=b"TRACE"), {405}),
    "TRACK": (request(method=b"TRACK"), {405, 501}),
    "a method in small letters": (request(method=b"get"), {501}),
    "a method that is none": (request(method=b"GE\x01T"), BAD),
    "no method": (request(method=b""), BAD),
    "two methods": (request(method=b"GET POST"), BAD),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD),
    "HTTP/0.9": (b"GET /api/proxy/v1/x\r\n\r\n", BAD),
    "HTTP/3.0": (request(version=b"HTTP/3.0"), BAD),
    "HTTP of no version": (request(version=b"HTTP/x.y"), BAD),
    "TLS": (bytes.fromhex("160301020001000001fc0303") + b"\0" * 64, BAD),
    "a method in a header": (request(b"v1/x", b"X-HTTP-Method-Override: DELETE"), OK),
    "a method in other headers": (request(b"v1/x", b"X-Method-Override: PUT", b"X-HTTP-Method: PUT"), OK),
    "a path in a header": (request(b"v1/x", b"X-Original-URL: /admin", b"X-Rewrite-URL: /admin"), OK),
    # Host.
    "Host of another": (request(host=b"Host: {decoy}"), OK),
    "Host with a user": (request(host=b"Host: user:password@{decoy}"), OK),
    "Host with another port": (request(host=b"Host: 127.0.0.1:1"), OK),
    "Host of two lines": (request(host=b"Host: {host}\r\nHost: {decoy}"), BAD),
    "Host of two equal lines": (request(host=b"Host: {host}\r\nHost: {host}"), BAD),
    "no Host": (request(host=b""), BAD),
    "an empty Host": (request(host=b"Host:"), OK),
    "Host with a path": (request(host=b"Host: {decoy}/v1"), OK),
    "Host by other names": (request(b"v1/x", b"X-Forwarded-Host: {decoy}", b"X-Host: {decoy}"), OK),
    "Forwarded": (request(b"v1/x", b"Forwarded: for=127.0.0.1;host={decoy};proto=https"), OK),
    "who a proxy says that it is": (
        request(
            b"v1/x", b"Remote-User: root", b"X_Remote_User: root", b"X.WebAuth.User: root", b"X-SSL-Client-Cert: x"
        ),
        OK,
    ),
    "X-Forwarded of any kind": (request(b"v1/x", b"X-Forwarded-Prefix: /admin", b"X-Forwarded-For: 127.0.0.1"), OK),
    "an underscore in X_Forwarded_Host": (request(b"v1/x", b"X_Forwarded_Host: {decoy}"), OK),
    # The credential.
    "no token": (request(auth=b""), NO),
    "two tokens": (request(b"v1/x", b"Authorization: Bearer {token}"), BAD),
    "two tokens in one line": (request(auth=b"Authorization: Bearer {token}, Bearer {token}"), NO),
    "a token by another scheme": (request(auth=b"Authorization: Basic {token}"), NO),
    "a token in the query": (request(b"v1/x?access_token={token}", auth=b""), NO),
    "a token in a cookie": (request(b"v1/x", b"Cookie: token={token}", auth=b""), NO),
    "a token for a proxy": (request(b"v1/x", b"Proxy-Authorization: Bearer {token}", auth=b""), NO),
    "a token in a line that goes on": (request(auth=b"Authorization: Bearer\r\n {token}"), BAD),
    "a token under an underscore": (request(b"v1/x", b"Authorization_: Bearer x"), OK),
    "the injected header": (request(b"v1/x", b"X-Upstream-Key: mine"), OK),
    "the injected header in small letters": (request(b"v1/x", b"x-upstream-key: mine"), OK),
    "the injected header twice": (request(b"v1/x", b"X-Upstream-Key: a", b"X-UPSTREAM-KEY: b"), OK),
    "the injected header with underscores": (request(b"v1/x", b"X_Upstream_Key: mine"), OK),
    "the injected header with one underscore": (request(b"v1/x", b"x-upstream_key: mine"), OK),
    "the injected header with a space": (request(b"v1/x", b"X-Upstream-Key : mine"), BAD),
    "the injected header in a line that goes on": (request(b"v1/x", b"X-A: b\r\n\tX-Upstream-Key: mine"), BAD),
    "Connection names Authorization": (request(b"v1/x", b"Connection: keep-alive, Authorization"), OK),
    "Connection names the injected header": (request(b"v1/x", b"Connection: X-Upstream-Key"), OK),
    "Connection names Host": (request(b"v1/x", b"Connection: Host"), OK),
    "Connection names the length": (sized(b"body", b"Connection: Content-Length"), OK),
    "Connection names the key of the call": (
        sized(b"1", b"Idempotency-Key: named", b"Connection: Idempotency-Key"),
        OK,
    ),
    "many Connections": (request(b"v1/x", b"Connection: x-upstream-key", b"Connection: authorization,,host"), OK),
    "Proxy-Connection": (request(b"v1/x", b"Proxy-Connection: keep-alive, X-Upstream-Key"), OK),
    "keys of other kinds": (request(b"v1/x", b"X-Api-Key: a", b"Api-Key: b", b"api_key: c", b"Cookie: d=e"), OK),
    "an upgrade": (request(b"v1/x", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"), OK),
    "an upgrade to HTTP/2": (request(b"v1/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), OK),
    "TE": (request(b"v1/x", b"TE: trailers, chunked"), OK),
    # Framing.
    "a length and chunks": (post(b"0\r\n\r\n" + INNER, b"Content-Length: 5", b"Transfer-Encoding: chunked"), BAD),
    "chunks and a length": (post(b"0\r\n\r\n" + INNER, b"Transfer-Encoding: chunked", b"Content-Length: 200"), BAD),
    "a short length and chunks": (
        post(b"1\r\na\r\n0\r\n\r\n", b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        BAD,
    ),
    "two lengths": (post(b"ab" + INNER, b"Content-Length: 2", b"Content-Length: 0"), BAD),
    "two equal lengths": (post(b"ab", b"Content-Length: 2", b"Content-Length: 2"), BAD),
    "a list of lengths": (post(b"ab", b"Content-Length: 2, 2"), BAD),
    "a negative length": (post(b"ab", b"Content-Length: -2"), BAD),
    "a length with a sign": (post(b"ab", b"Content-Length: +2"), BAD),
    "a length in hex": (post(b"ab", b"Content-Length: 0x2"), BAD),
    "a length with a point": (post(b"ab", b"Content-Length: 2.0"), BAD),
    "a length with a space within": (post(b"ab" + INNER, b"Content-Length: 2 00"), BAD),
    "an empty length": (post(b"", b"Content-Length:"), BAD),
    "a huge length": (post(b"ab", b"Content-Length: 99999999999"), LATE),
    "a length beyond numbers": (post(b"ab", b"Content-Length: 184467440737095516160"), BAD),
    "a length with an underscore": (request(b"v1/x", b"Content_Length: 90", method=b"POST", body=BARE), OK),
    "a space before the colon of the length": (post(INNER, b"Content-Length : 90"), BAD),
    "a space before the length": (post(INNER, b" Content-Length: 90"), BAD),
    "more than the length": (post(b"ab" + BARE, b"Content-Length: 2"), OK),
    "less than the length": (post(b"ab", b"Content-Length: 200"), LATE),
    "chunks by another name": (post(b"1\r\na\r\n0\r\n\r\n", b"Transfer-Encoding: xchunked"), BAD),
    "chunks of another coding": (post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"), {501}),
    "chunks before another coding": (post(b"0\r\n\r\n", b"Transfer-Encoding: chunked, identity"), BAD),
    "chunks twice": (post(b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), BAD),
    "chunks twice, one not": (post(b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"), BAD),
    "chunks behind a vertical tab": (post(b"0\r\n\r\n" + INNER, b"Transfer-Encoding: \x0bchunked"), BAD),
    "chunks in quotes": (post(b"0\r\n\r\n", b'Transfer-Encoding: "chunked"'), BAD),
    "chunks in a line that goes on": (post(b"0\r\n\r\n" + INNER, b"Transfer-Encoding:\r\n chunked"), BAD),
    "chunks, a space before the colon": (post(b"0\r\n\r\n" + INNER, b"Transfer-Encoding : chunked"), BAD),
    "chunks with an underscore": (sized(b"0\r\n\r\n", b"Transfer_Encoding: chunked"), OK),
    "chunks in HTTP/1.0": (
        request(b"v1/x", b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0", body=b"0\r\n\r\n" + BARE),
        BAD,
    ),
    "identity": (post(b"", b"Transfer-Encoding: identity"), BAD),
    "a negative chunk": (chunked(b"-1\r\na\r\n0\r\n\r\n"), BAD),
    "a huge chunk": (chunked(b"fffffffffffffffff\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk with a sign": (chunked(b"+1\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk with 0x": (chunked(b"0x1\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk with an underscore": (chunked(b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"), BAD),
    "a chunk that is no number": (chunked(b"zz\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk without a size": (chunked(b"\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk longer than its size": (chunked(b"1\r\nab\r\n0\r\n\r\n"), BAD),
    "a chunk with a space before": (chunked(b" 1\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk with a bare LF": (chunked(b"1\na\n0\n\n"), BAD),
    "a chunk with a bare CR": (chunked(b"1\ra\r0\r\r"), BAD),
    "a chunk's extension": (chunked(b"1;a=b\r\na\r\n0\r\n\r\n"), OK),
    "a chunk's extension with a bare LF": (chunked(b"1;a\nb\r\na\r\n0\r\n\r\n"), BAD),
    "a chunk's endless extension": (chunked(b"1;" + b"a" * 20000 + b"\r\na\r\n0\r\n\r\n"), OK),
    "a trailer with a credential": (
        chunked(b"1\r\na\r\n0\r\nX-Upstream-Key: mine\r\n\r\n", b"Trailer: X-Upstream-Key"),
        OK,
    ),
    "a trailer with a length": (chunked(b"0\r\nContent-Length: 90\r\n\r\n" + BARE), BAD),
    "chunks and a request behind them": (chunked(b"0\r\n\r\n" + BARE), OK),
    "a body with GET": (request(b"v1/x", b"Content-Length: %d" % len(BARE), body=BARE), OK),
    "a body that is a request": (sized(BARE), OK),
    "a body that is compressed wrongly": (sized(b"not gzip", b"Content-Encoding: gzip"), BAD | OK),
    # Lines.
    "a line that goes on": (request(b"v1/x", b"X-A: b", b" c"), BAD),
    "a first line that goes on": (
        b"GET /api/proxy/v1/x HTTP/1.1\r\n Host: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        BAD,
    ),
    "bare LFs": (request().replace(b"\r\n", b"\n"), BAD),
    "a bare LF in a header": (request(b"v1/x", b"X-A: b\nX-Upstream-Key: mine"), BAD),
    "a bare CR in a header": (request(b"v1/x", b"X-A: b\rX-Upstream-Key: mine"), BAD),
    "a bare CR before the end": (request(b"v1/x", b"X-A: b\r"), BAD),
    "a NUL in a header": (request(b"v1/x", b"X-A: b\0c"), BAD),
    "a control character in a header": (request(b"v1/x", b"X-A: b\x07c"), BAD),
    "a NUL in a name": (request(b"v1/x", b"X-A\0: b"), BAD),
    "a name with brackets": (request(b"v1/x", b"X(A): b"), BAD),
    "a name that is no ASCII": (request(b"v1/x", "X-\xe4: b".encode()), BAD),
    "no name": (request(b"v1/x", b": b"), BAD),
    "no colon": (request(b"v1/x", b"X-A"), BAD),
    "a colon first": (request(b"v1/x", b":authority: {decoy}"), BAD),
    "a very long header": (request(b"v1/x", b"X-A: " + b"a" * 33000), {431}),
    "a very long name": (request(b"v1/x", b"X-" + b"A" * 33000 + b": b"), {431}),
    "very many headers": (request(b"v1/x", *[b"X-%d: a" % n for n in range(500)]), {400, 431}),
    "headers without an end": (request(b"v1/x")[:-2], BAD),
    # The rest.
    "an expectation that is none": (sized(b"a", b"Expect: a-miracle"), {417}),
    "two keys of a call": (sized(b"a", b"Idempotency-Key: a", b"Idempotency-Key: b"), BAD),
    "an empty key of a call": (sized(b"a", b"Idempotency-Key:"), BAD),
    "a key of a call that is no ASCII": (sized(b"a", b"Idempotency-Key: \xff"), BAD),
    "a very long key of a call": (sized(b"a", b"Idempotency-Key: " + b"k" * 256), BAD),
    "a query for another host": (request(b"v1/x?url=http://{decoy}/&@{decoy}"), OK),
    "a query behind a query": (request(b"v1/x??../../admin"), OK),
    "a query with an upward path": (request(b"v1/x?/../../admin"), OK),
    "an encoded query": (request(b"v1/x%3f/../admin"), BAD),
    "a path that hides the rest in a query": (request(b"admin?/v1/x"), {403}),
    "a path that hides the rest in a parameter": (request(b"admin;/v1/x"), {403}),
}


def normal(target: str) -> str:
    """A target's path as the most lenient server would have it."""
    path = target.partition("?")[0]
    while (plain := unquote(path)) != path:
        path = plain
    kept: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part.partition(";")[0].strip() == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + "/"


NEVER = set(
    "connection te trailer upgrade proxy-connection keep-alive expect cookie x-api-key api-key proxy-authorization "
    "forwarded x-host x-original-url x-rewrite-url x-http-method x-http-method-override x-method-override".split()
)


def assert_unharmed(site: Site, seen: list[Seen], answers: list[Answer]) -> None:
    """What holds whatever was sent."""
    for each in seen:
        assert each.get("Host") == [site.upstream.netloc]
        assert normal(each.target).startswith("/base/v1/"), each.target
        plain = [name.lower().replace("_", "-") for name, _ in each.fields]
        injected = [(name, value) for name, value in each.fields if KEY in value]
        assert injected == [("Authorization", f"Bearer {KEY}"), ("X-Upstream-Key", KEY)]
        assert (plain.count("authorization"), plain.count("x-upstream-key")) == (1, 1)
        assert not {name for name in plain if name in NEVER or name.startswith("x-forwarded-")}
        assert not {name for name in plain if re.match("(x.)?(remote|webauth|ssl)", name)}
        assert plain.count("content-length") <= 1
        assert plain.count("transfer-encoding") + plain.count("content-length") <= 1
        assert site.token not in repr(each.fields)
    assert site.decoy.server.connections == 0
    secrets = [KEY.encode(), base64.b64encode(KEY.encode())]
    assert not [each for each in answers if any(secret in each.raw for secret in secrets)]


@pytest.mark.parametrize(("raw", "statuses"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_request_gets_no_further(site: Site, raw: bytes, statuses: set[int]) -> None:
    # A connection that asked for another protocol stays, and what follows on it is not answered.
    patience = 2.0 if b"h2c" in raw else PATIENCE if statuses else 0.3
    answers = site.send(raw, patience)
    seen = site.upstream.take()
    assert_unharmed(site, seen, answers)
    # One request at most, and only where the answer is the upstream's.
    assert len(seen) == [each.status for each in answers].count(200)
    assert len(seen) <= 1
    assert not [each for each in seen if "smuggled" in each.target]
    if statuses:
        assert answers[0].status in statuses
    else:
        assert answers == []


class Good(NamedTuple):
    """A request, and what of it the upstream must see."""

    raw: bytes
    method: str = "GET"
    target: str = "v1/x"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def path(target: str) -> Good:
    return Good(request(target.encode()), target=target)


def field(name: str, value: str, encoding: str = "utf-8") -> Good:
    # What Latin-1 had as one byte arrives as UTF-8, which is all that aiohttp writes.
    sent = f"{name}: {value}".encode(encoding)
    return Good(request(b"v1/x", sent), fields=((name, value.strip().encode().decode("latin-1")),))


def upload(body: bytes, *fields: str, method: str = "POST", raw: bytes | None = None) -> Good:
    lines = [each.encode() for each in fields]
    length = b"Content-Length: %d" % len(body)
    whole = request(b"v1/x", length, *lines, method=method.encode(), body=body)
    pairs = [each.partition(": ")[::2] for each in fields]
    return Good(whole if raw is None else raw, method, fields=tuple(pairs), body=body)


MEBIBYTE = bytes(range(256)) * 4096
GOOD: dict[str, Good] = {
    "plain": path("v1/x"),
    "an encoded slash": path("v1/files/a%2Fb"),
    "an encoded slash in small letters": path("v1/files/a%2fb"),
    "a colon": path("v1/models/gpt-4o:free"),
    "a verb behind a colon": path("v1/models/gemini:streamGenerateContent?alt=sse"),
    "a space": path("v1/a%20b"),
    "unicode": path("v1/%E2%82%AC/%F0%9F%98%80"),
    "an escape of Latin-1": path("v1/caf%E9"),
    "an encoded percent": path("v1/100%25"),
    "an encoded question mark": path("v1/what%3F"),
    "an encoded hash": path("v1/c%23"),
    "every mark that a path may hold": path("v1/-._~!$&'()*+,;=:@"),
    "dots that are no steps": path("v1/...a/.well-known/a..b/x."),
    "a slash at the end": path("v1/x/"),
    "two slashes": path("v1//x"),
    "a long path": path("v1/" + "a" * 16000),
    "a query": path("v1/x?limit=5&after=abc"),
    "repeated keys": path("v1/x?a=1&a=2&a=1"),
    "keys without values": path("v1/x?a&b=&=c"),
    "pluses and spaces": path("v1/x?q=a+b%20c%2Bd"),
    "slashes and question marks in a query": path("v1/x?next=/a/b?c=d"),
    "dots in a query": path("v1/x?path=../a/./b"),
    "a URL in a query": path("v1/x?url=https%3A%2F%2Fexample.com%2F%3Fa%3Db"),
    "brackets in a query": path("v1/x?filter[a]=b"),
    "unicode in a query": path("v1/x?q=%C3%BC%E2%82%AC"),
    "an order of keys": path("v1/x?z=1&a=2&m=3"),
    "GET": path("v1/get"),
    **{method: upload(b"a body", method=method) for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")},
    "a GET with a body": upload(b'{"query": {}}', method="GET"),
    "DELETE without a body": Good(request(method=b"DELETE"), "DELETE"),
    "a method of WebDAV": Good(request(method=b"PROPFIND"), "PROPFIND"),
    "no body": Good(request(method=b"POST"), "POST"),
    "an empty body": upload(b""),
    "a body of one MiB": upload(MEBIBYTE),
    "a body that is no text": upload(bytes(range(256)), "Content-Type: application/octet-stream"),
    "a form": upload(b"a=1&b=%20", "Content-Type: application/x-www-form-urlencoded"),
    "files": upload(b"--x\r\n\r\na\r\n--x--\r\n", 'Content-Type: multipart/form-data; boundary="x"'),
    "a body without a type": upload(b"?"),
    "chunks": upload(b"one two", raw=chunked(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")),
    "chunks with extensions and a trailer": upload(b"one", raw=chunked(b'3;a="b"\r\none\r\n0\r\nX-Sum: 1\r\n\r\n')),
    "chunks of one MiB": upload(MEBIBYTE, raw=chunked(b"100000\r\n" + MEBIBYTE + b"\r\n0\r\n\r\n")),
    "chunks in capitals": upload(b"one", raw=post(b"3\r\none\r\n0\r\n\r\n", b"TRANSFER-ENCODING: Chunked")),
    "HTTP/1.0": Good(request(version=b"HTTP/1.0")),
    "HTTP/1.0 without a Host": Good(request(version=b"HTTP/1.0", host=b"")),
    "a scheme in small letters": Good(request(auth=b"authorization: bearer {token}")),
    "an IPv6 Host": Good(request(host=b"Host: [::1]:3001")),
    "a type": field("Content-Type", 'application/json; charset="utf-8"'),
    "an Accept of many": field("Accept", "text/event-stream;q=0.9, */*;q=0.1"),
    "an agent": field("User-Agent", "curl/8.0 (x; y) [z]"),
    "an organization": field("OpenAI-Organization", "org-1"),
    "a beta": field("anthropic-beta", "a-1,b-2"),
    "a traceparent": field("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    "a request's id": field("X-Request-Id", "mine-1"),
    "a range": field("Range", "bytes=0-99"),
    "a condition": field("If-None-Match", 'W/"abc", "def"'),
    "an empty header": field("X-Empty", ""),
    "every visible character": field("X-Odd", "".join(map(chr, range(0x21, 0x7F)))),
    "tabs and spaces within": field("X-Odd", "a \t b"),
    "spaces around": field("X-Odd", "  a b  "),
    "UTF-8 in a header": field("X-Odd", "naïve €"),
    "Latin-1 in a header": field("X-Odd", "naïve", "latin-1"),
    "every character that a name may hold": field("X!#$%&'*+-.^_`|~1", "a"),
    "a header with an underscore": field("X_Mine", "a"),
    "a header twice": Good(request(b"v1/x", b"X-A: 1", b"X-A: 2"), fields=(("X-A", "1"), ("X-A", "2"))),
    "a header of thirty thousand characters": field("X-Odd", "a" * 30000),
    "a key of the call": upload(b"{}", "Idempotency-Key: 0b6f-1"),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_a_good_request_passes_unchanged(site: Site, good: Good) -> None:
    # After HTTP/1.0 the connection ends.
    answers = site.send(good.raw, last=b"HTTP/1.0" not in good.raw)
    assert [each.status for each in answers] == [200]
    (seen,) = site.upstream.take()
    assert_unharmed(site, [seen], answers)
    assert (seen.method, seen.target, seen.body) == (good.method, f"/base/{good.target}", good.body)
    assert answers[0].body.endswith(good.body) or seen.get("Transfer-Encoding")
    for name in {name for name, _ in good.fields}:
        assert seen.get(name) == [value for each, value in good.fields if each == name]


def test_pipelined_requests_are_answered_in_their_order(site: Site) -> None:
    answers = site.send(b"".join(request(b"v1/%d" % n) for n in range(20)))
    assert [each.target for each in site.upstream.take()] == [f"/base/v1/{n}" for n in range(20)]
    assert [int(each.body.split(b" ")[1].rpartition(b"/")[2]) for each in answers] == list(range(20))


def test_a_caller_that_waits_for_a_hundred_continue_gets_it(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", int(site.gateway.url.rpartition(":")[2])), PATIENCE) as sock:
        head = sized(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 4")
        sock.sendall(head.replace(b"{token}", site.token.encode()))
        reader = sock.makefile("rb")
        assert reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert reader.readline() == b"\r\n"
        sock.sendall(b"body")
        found = one(reader)
        reader.close()
    assert found is not None
    assert found.status == 200
    assert site.upstream.take()[0].body == b"body"


def test_a_refused_caller_need_not_send_its_body(site: Site) -> None:
    refused = request(b"admin", b"Content-Length: 4", b"Expect: 100-continue", method=b"POST")
    assert [each.status for each in site.send(refused, last=False)] == [403]


def test_a_compressed_upload_passes_as_it_is(site: Site) -> None:
    packed = gzip.compress(b"a body")
    assert [each.status for each in site.send(sized(packed, b"Content-Encoding: gzip"))] == [200]
    (seen,) = site.upstream.take()
    assert (seen.body, seen.get("Content-Encoding")) == (packed, ["gzip"])


BROKEN = request(auth=b"Authorization: Bearer {token}\x01")


def test_no_log_quotes_a_request_that_cannot_be_parsed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    assert [each.status for each in site.send(BROKEN)] == [400]
    assert site.token not in caplog.text


def test_what_cannot_be_parsed_gets_a_request_id_as_well(site: Site) -> None:
    (found,) = site.send(BROKEN)
    assert "X-Request-Id" in dict(found.fields)
