"""What holds within a tunnel: the chain of a base URL's calls, for a token that may end meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from oo.gateway import elsewhere
from oo.gateway.authority import current
from oo.gateway.authority_keeping import rotate_authority
from oo.testing import BackgroundLoop, LocalGateway
from tests.support import tunnels
from tests.support.names import resolving
from tests.support.private_hosts import ADDRESSES, OpenAIOverTLS, OverTLS, PrivateCA
from tests.support.processes import until
from tests.support.sockets import Echoing
from tests.support.tunnels import Proxied, answer_of, head_of
from tests.support.waiting import PATIENCE

from .conftest import KEY

pytestmark = pytest.mark.usefixtures("loops")


def place_of(api: OverTLS, host: str = "") -> str:
    return f"{host or api.host}:{api.port}"


def get(tls: socket.socket, path: str, api: OverTLS, **headers: str) -> tuple[int, Any]:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {place_of(api)}\r\n{fields}\r\n".encode())
    status, body = answer_of(tls)
    return status, json.loads(body)


def used(proxied: Proxied, token: str) -> int:
    [found] = [each for each in proxied.gateway.run(proxied.gateway.vault.tokens()) if each.id == id_of(proxied, token)]
    return found.used


def id_of(proxied: Proxied, token: str) -> str:
    return proxied.gateway.vault.id_of(token)


def test_a_connect_costs_no_use_and_each_request_one(proxied: Proxied, api: OpenAIOverTLS) -> None:
    token = proxied.gateway.issue("route", "api", uses=3)
    with proxied.tunnel(place_of(api), token) as tls:
        assert used(proxied, token) == 0
        assert [get(tls, "/v1/models", api)[0] for _ in range(3)] == [200] * 3
        assert used(proxied, token) == 3
        status, refused = get(tls, "/v1/models", api)
    assert (status, refused["error"]["message"]) == (403, "the token was not accepted: it is used up")
    assert len(api.seen) == 3


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_token_that_ends_within_a_tunnel_is_forbidden_and_not_asked_for(
    end: str, proxied: Proxied, api: OpenAIOverTLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.open_calls._INTERVAL", 60.0)  # the request comes before the tunnel's end
    token = proxied.gateway.issue("route", "api", ttl=1.0 if end == "expired" else None)
    with proxied.tunnel(place_of(api), token) as tls:
        assert get(tls, "/v1/models", api)[0] == 200
        if end == "expired":
            time.sleep(1.1)
        else:
            proxied.gateway.run(proxied.gateway.vault.revoke(id_of(proxied, token)))
        tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {place_of(api)}\r\n\r\n".encode())
        head = head_of(tls)
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"WWW-Authenticate" not in head
        assert b"\r\nConnection: close\r\n" in head
        tls.settimeout(PATIENCE)
        while tls.recv(1 << 16):
            pass
    sock, head = proxied.connect(place_of(api), token)
    with sock:
        said = "it was revoked" if end == "revoked" else "it has expired"
        assert head.startswith(f"HTTP/1.1 403 the token was not accepted: {said}\r\n".encode())


def test_of_several_tokens_the_first_whose_route_goes_there_is_taken(
    proxied: Proxied, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path
) -> None:
    gateway = proxied.gateway
    gateway.secret("second", "the-second-key-of-all")
    other = gateway.route(
        "other", f"https://other.test:{api.port}", {"Authorization": "Bearer {second}"}, ca=authority.pem
    )
    both = f"{other},{proxied.token}"
    ca = tmp_path / "both.pem"
    ca.write_text(proxied.certificates(both))
    for host, key in (("api.test", KEY), ("other.test", "the-second-key-of-all")):
        with proxied.tunnel(place_of(api, host), both, str(ca)) as tls:
            tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {place_of(api, host)}\r\n\r\n".encode())
            assert answer_of(tls)[0] == 200
        assert api.keys[-1] == f"Bearer {key}"
    # One that is revoked is passed over.
    gateway.run(gateway.vault.revoke(gateway.vault.id_of(other)))
    with proxied.tunnel(place_of(api), both) as tls:
        assert get(tls, "/v1/models", api)[0] == 200
    sock, head = proxied.connect(place_of(api, "other.test"), both)
    with sock:
        assert head.startswith(b"HTTP/1.1 403 no route of this token goes to ")


def test_a_bundle_opens_its_routes_and_only_by_the_forward_proxy(
    proxied: Proxied, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path
) -> None:
    gateway = proxied.gateway
    gateway.route("other", f"https://other.test:{api.port}", {"X-Key": "{key}"}, ca=authority.pem)
    gateway.run(gateway.vault.put_bundle("agent", ["other", "api"]))
    token = gateway.issue("bundle", "agent", uses=5)
    ca = tmp_path / "bundle.pem"
    ca.write_text(proxied.certificates(token))
    for host in ("api.test", "other.test"):
        with proxied.tunnel(place_of(api, host), token, str(ca)) as tls:
            tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {place_of(api, host)}\r\n\r\n".encode())
            assert answer_of(tls)[0] == 200
    assert used(proxied, token) == 2
    with proxied.socket() as sock:
        sock.sendall(f"GET /api/proxy/v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        status, body = answer_of(sock)
        assert (status, b"by the forward proxy" in body) == (401, True)
    # What a bundle has is looked at for each request.
    with proxied.tunnel(place_of(api), token, str(ca)) as tls:
        assert get(tls, "/v1/models", api)[0] == 200
        gateway.run(gateway.vault.put_bundle("agent", ["other"]))
        assert get(tls, "/v1/models", api)[0] == 403
    # A keyed call is made once.
    with proxied.tunnel(place_of(api, "other.test"), token, str(ca)) as tls:
        for _ in range(2):
            fields = f"Host: {place_of(api, 'other.test')}\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n"
            tls.sendall(f"POST /echo HTTP/1.1\r\n{fields}\r\n".encode())
            assert answer_of(tls)[0] == 200
    assert [request["path"] for request in api.seen].count("/echo") == 1
    assert used(proxied, token) == 4


def test_the_upstreams_own_path_is_in_front_of_what_is_allowed(
    proxied: Proxied, api: OpenAIOverTLS, authority: PrivateCA
) -> None:
    route = ("v1", f"{api.url}/v1", {"Authorization": "Bearer {key}"})
    token = proxied.gateway.route(*route, ca=authority.pem, allow=("GET /models",))
    with proxied.tunnel(place_of(api), token) as tls:
        assert get(tls, "/v1/models?limit=1", api)[0] == 200
        assert get(tls, "/v1/embeddings", api)[0] == 403
        assert get(tls, "/models", api)[0] == 403
        assert get(tls, "/v10/models", api)[0] == 403
    assert [request["path"] for request in api.seen] == ["/v1/models?limit=1"]


def test_a_secret_in_the_upstreams_path_stands_in_the_place_of_the_callers(
    proxied: Proxied, api: OpenAIOverTLS, authority: PrivateCA
) -> None:
    token = proxied.gateway.route("bot", f"{api.url}/bot{{key}}", ca=authority.pem)
    with proxied.tunnel(place_of(api), token) as tls:
        status, said = get(tls, "/botplaceholder/getMe", api)
        assert (status, KEY in str(said)) == (404, False)
    assert api.seen[-1]["path"] == f"/bot{KEY}/getMe"


def test_a_websocket_is_masked_as_elsewhere(
    gateway: LocalGateway, authority: PrivateCA, tmp_path: Path, proxied: Proxied
) -> None:
    class EchoingOverTLS(OverTLS, Echoing):
        pass

    async def talk(url: str) -> list[str]:
        tls = ssl.create_default_context(cafile=str(mine.ca))
        proxy = gateway.url.replace("http://", f"http://oo:{mine.token}@")
        async with aiohttp.ClientSession() as http, http.ws_connect(url, proxy=proxy, ssl=tls) as ws:
            said = [await ws.receive_str()]
            await ws.send_str(f"a {KEY} b")
            said.append(await ws.receive_str())
            await ws.send_str("bye")
            assert (await ws.receive())[:2] == (aiohttp.WSMsgType.CLOSE, 4001)
        await asyncio.sleep(0.1)  # in which aiohttp closes its connection
        return said

    with BackgroundLoop() as background:
        upstream = background.enter(EchoingOverTLS(authority.context(), "ws.test"))
        token = gateway.route("ws", upstream.url, {"Authorization": "Bearer {key}"}, ca=authority.pem, websocket=True)
        mine = Proxied(gateway, token, tmp_path)
        said = asyncio.run(talk(f"wss://ws.test:{upstream.port}/echo"))
    assert said == ["hello Bearer ***", "a *** b"]


def sign_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the authority sign with the key that signs in a month."""
    later = time.time() + 31 * 86400
    monkeypatch.setattr("oo.gateway.authority.current", lambda keys, _: current(keys, later))


def test_a_rotated_key_is_trusted_before_it_signs(
    proxied: Proxied, api: OpenAIOverTLS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gateway, before = proxied.gateway, proxied.ca.read_text()
    gateway.run(rotate_authority(gateway.vault))
    both = tmp_path / "both.pem"
    both.write_text(proxied.certificates(proxied.token))
    assert both.read_text().count("BEGIN CERTIFICATE") == 2
    for ca in (str(proxied.ca), str(both)):
        with proxied.tunnel(place_of(api), ca=ca) as tls:
            assert get(tls, "/v1/models", api)[0] == 200
    names = [each.subject for each in x509.load_pem_x509_certificates(both.read_bytes())]
    assert x509.load_pem_x509_certificate(before.encode()).subject in names
    sign_with_the_next(monkeypatch)
    with pytest.raises(ssl.SSLError), proxied.tunnel(place_of(api), ca=str(proxied.ca)):
        pass
    with proxied.tunnel(place_of(api), ca=str(both)) as tls:
        assert get(tls, "/v1/models", api)[0] == 200


def test_a_key_that_is_replaced_at_once_is_trusted_no_longer(proxied: Proxied, api: OpenAIOverTLS) -> None:
    with proxied.tunnel(place_of(api)) as open_before:
        proxied.gateway.run(rotate_authority(proxied.gateway.vault, at_once=True))
        with pytest.raises(ssl.SSLError), proxied.tunnel(place_of(api)):
            pass
        proxied.ca.write_text(proxied.certificates(proxied.token))
        with proxied.tunnel(place_of(api)) as tls:
            assert get(tls, "/v1/models", api)[0] == 200
        assert get(open_before, "/v1/models", api)[0] == 200


@pytest.fixture
def elsewhere_too(api: OpenAIOverTLS, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGateway]:
    """A gateway that tunnels to where no route goes, for which public.test is a public address that is here."""
    resolving(monkeypatch, {**ADDRESSES, "public.test": ["8.8.8.8"], "private.test": ["10.1.2.3"]})
    real = asyncio.open_connection

    async def open_connection(host: str, port: int, **settings: Any) -> Any:
        assert (host, port) == ("8.8.8.8", 443)
        return await real("127.0.0.1", api.port, **settings)

    with tunnels.gateway(elsewhere=True) as running:
        monkeypatch.setattr("oo.gateway.elsewhere.asyncio.open_connection", open_connection)
        yield running


def blind(gateway: LocalGateway, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path) -> Proxied:
    gateway.secret("key", KEY)
    return Proxied(gateway, gateway.route("api", api.url, ca=authority.pem), tmp_path)


def test_elsewhere_bytes_pass_unseen(
    elsewhere_too: LocalGateway, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path
) -> None:
    proxied = blind(elsewhere_too, api, authority, tmp_path)
    trusted = tmp_path / "private.pem"
    trusted.write_text(authority.pem)
    # The API's own certificate, which the gateway has no key of.
    with proxied.tunnel("public.test:443", ca=str(trusted), name="api.test") as tls:
        assert get(tls, "/v1/models", api, Authorization="Bearer the-programs-own")[0] == 200
        body = json.dumps({"large": "x" * (1 << 19)})
        tls.sendall(f"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert json.loads(answer_of(tls)[1])["body"] == body
    assert api.seen[0]["headers"]["Authorization"] == "Bearer the-programs-own"
    for target in ("public.test:22", "public.test:80", "private.test:443", "127.0.0.1:443", "169.254.169.254:443"):
        sock, head = proxied.connect(target)
        with sock:
            assert head.startswith(b"HTTP/1.1 403 "), target
    sock, head = proxied.connect("public.test:443", "oo_unknown")
    with sock:
        assert head.startswith(b"HTTP/1.1 407 ")


def test_a_blind_tunnel_ends_with_its_token(
    elsewhere_too: LocalGateway, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path
) -> None:
    proxied = blind(elsewhere_too, api, authority, tmp_path)
    sock, head = proxied.connect("public.test:443")
    with sock:
        assert head.startswith(b"HTTP/1.1 200 ")
        elsewhere_too.run(elsewhere_too.vault.revoke(elsewhere_too.vault.id_of(proxied.token)))
        sock.settimeout(PATIENCE)
        assert _end_of(sock) == b""


def test_a_blind_tunnel_ends_where_nothing_passes(
    elsewhere_too: LocalGateway,
    api: OpenAIOverTLS,
    authority: PrivateCA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elsewhere, "IDLE", 0.2)
    proxied = blind(elsewhere_too, api, authority, tmp_path)
    sock, _ = proxied.connect("public.test:443")
    with sock:
        sock.settimeout(PATIENCE)
        assert _end_of(sock) == b""


def test_a_blind_tunnel_is_a_call_under_way(
    elsewhere_too: LocalGateway, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path
) -> None:
    proxied = blind(elsewhere_too, api, authority, tmp_path)
    token = elsewhere_too.issue("route", "api", concurrency=1)
    first, head = proxied.connect("public.test:443", token)
    with first:
        assert head.startswith(b"HTTP/1.1 200 ")
        second, head = proxied.connect("public.test:443", token)
        with second:
            assert head.startswith(b"HTTP/1.1 429 this token has 1 calls under way, which is its limit\r\n")

    def is_free() -> bool:
        third, head = proxied.connect("public.test:443", token)
        third.close()
        return head.startswith(b"HTTP/1.1 200 ")

    until(is_free)  # once the caller has left


def test_idle_tunnels_end_with_the_gateway(api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path) -> None:
    with tunnels.gateway() as gateway:
        proxied = blind(gateway, api, authority, tmp_path)
        tls = proxied.tunnel(place_of(api))
        half, _ = proxied.connect(place_of(api))  # whose handshake never begins
    with tls, half:
        for each in (tls, half):
            each.settimeout(PATIENCE)
            assert _end_of(each) == b""


def test_a_request_in_the_segment_of_the_handshakes_end_is_answered(proxied: Proxied, api: OpenAIOverTLS) -> None:
    # With TLS 1.3 a client may send its Finished and its request at once.
    context = ssl.create_default_context(cafile=str(proxied.ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="api.test")
    sock, _ = proxied.connect(place_of(api))
    with sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(_some(sock))
        tls.write(f"GET /v1/models HTTP/1.1\r\nHost: {place_of(api)}\r\n\r\n".encode())
        sock.sendall(outgoing.read())
        plain = b""
        while b"gpt-4o-mini" not in plain:
            try:
                plain += tls.read(1 << 16)
            except ssl.SSLWantReadError:
                incoming.write(_some(sock))
    assert plain.startswith(b"HTTP/1.1 200 ")


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    assert data, "the other end hung up"
    return data


def _end_of(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1)
    except (ConnectionError, ssl.SSLError):
        return b""


def test_a_key_is_rotated_under_load(
    proxied: Proxied, api: OpenAIOverTLS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both, over, made = tmp_path / "both.pem", threading.Event(), list[int]()
    trusted = [str(proxied.ca)]

    def load() -> None:
        while not over.is_set():
            with proxied.tunnel(place_of(api), ca=trusted[0]) as tls:
                made.append(get(tls, "/v1/models", api)[0])

    def some_more() -> None:
        wanted = len(made) + 20
        until(lambda: len(made) >= wanted)

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            some_more()
            proxied.gateway.run(rotate_authority(proxied.gateway.vault))
            some_more()
            both.write_text(proxied.certificates(proxied.token))
            trusted[0] = str(both)
            some_more()
            sign_with_the_next(monkeypatch)
            some_more()
        finally:
            over.set()
        for each in loads:
            each.result()
    assert set(made) == {200}
