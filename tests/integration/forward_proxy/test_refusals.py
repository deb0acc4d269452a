"""What the forward proxy refuses, by raw sockets: each with its status, and the reason in the reason phrase."""

from __future__ import annotations

import base64
import json
import socket
import ssl

import pytest

import oo.testing
from oo.gateway.tokens import new_token
from tests.support.private_hosts import OpenAIOverTLS
from tests.support.tunnels import Proxied, answer_of, connect_head, head_of

pytestmark = pytest.mark.usefixtures("loops")


GET = "GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n"


def place_of(api: OpenAIOverTLS) -> str:
    return f"api.test:{api.port}"


CREDENTIALS = ["", "Basic", "Basic !!!", "Digest x", "Basic b286", "Bearer ", "Negotiate YII="]


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_without_a_token_that_is_known_a_password_is_asked_for(
    credential: str, proxied: Proxied, api: OpenAIOverTLS
) -> None:
    shown = f"Proxy-Authorization: {credential}\r\n" if credential else ""
    with proxied.socket() as sock:
        sock.sendall(connect_head(place_of(api), "", shown))
        head = head_of(sock)
    said = (
        b"is no token that is known here" if credential == "Basic b286" else b"(Proxy-Authorization) is to be a token"
    )
    assert head.startswith(b"HTTP/1.1 407 the proxy's password " + said + b"\r\n")
    assert b'\r\nProxy-Authenticate: Basic realm="Double-O"\r\n' in head
    assert b"\r\nConnection: close\r\n" in head


@pytest.mark.parametrize("token", ["oo_nonsense", "any", "a,b,c"])
def test_an_unknown_token_is_none(token: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    for shown in (token, new_token()):
        sock, head = proxied.connect(place_of(api), shown)
        with sock:
            assert head.startswith(b"HTTP/1.1 407 ")


def test_two_credentials_are_none(proxied: Proxied, api: OpenAIOverTLS) -> None:
    twice = f"Proxy-Authorization: Bearer {proxied.token}\r\n" * 2
    with proxied.socket() as sock:
        sock.sendall(connect_head(place_of(api), "", twice))
        assert head_of(sock).startswith(b"HTTP/1.1 407 ")


@pytest.mark.parametrize("shape", ["Bearer {}", "bearer {}", "Basic {}", "BASIC {}"])
def test_the_token_is_the_password_of_any_user_or_a_bearer(shape: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    for user in ("oo", "", "anyone"):
        pair = base64.b64encode(f"{user}:{proxied.token}".encode()).decode()
        shown = shape.format(pair if "asic" in shape.lower() else proxied.token)
        with proxied.socket() as sock:
            sock.sendall(connect_head(place_of(api), "", f"Proxy-Authorization: {shown}\r\n"))
            assert head_of(sock) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    alone = base64.b64encode(proxied.token.encode()).decode()  # as a user without a password
    with proxied.socket() as sock:
        sock.sendall(connect_head(place_of(api), "", f"Proxy-Authorization: Basic {alone}\r\n"))
        assert head_of(sock).startswith(b"HTTP/1.1 200 ")


ELSEWHERE = [
    "other.test:443",
    "api.test:443",  # the route's host at another port
    "api.test:22",
    "169.254.169.254:443",
    "169.254.169.254:80",
    "[fe80::1]:443",
    "[::1]:443",
    "localhost:443",
    "metadata.google.internal:443",
    "example.com:443",
    "api.test.:1",
    "sub.api.test:443",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_where_no_route_goes_there_is_no_tunnel(target: str, proxied: Proxied) -> None:
    sock, head = proxied.connect(target)
    with sock:
        host, _, port = target.rpartition(":")
        named = f"{host.removesuffix('.')}:{port}"
        assert head.startswith(f"HTTP/1.1 403 no route of this token goes to https://{named}\r\n".encode())


def test_nor_to_the_gateway_itself(proxied: Proxied) -> None:
    sock, head = proxied.connect("{}:{}".format(*proxied.address))
    with sock:
        assert head.startswith(b"HTTP/1.1 403 no route of this token goes to ")


MALFORMED = [
    "api.test",
    "api.test:",
    "api.test:0",
    "api.test:65536",
    "api.test:443443",
    "user@api.test:443",
    "user:pw@api.test:443",
    "api.test:443/path",
    "/api.test:443",
    "[::1:443",
    "[zz]:443",
    "a..b:443",
    "api.test..:443",
    ".:443",
    "..:443",
    "api.test:44 3",
]


@pytest.mark.parametrize("target", MALFORMED)
def test_what_is_no_host_and_port_is_malformed(target: str, proxied: Proxied) -> None:
    sock, head = proxied.connect(target)
    with sock:
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert b"user" not in head


@pytest.mark.parametrize("field", ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_connect_has_no_body(field: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    with proxied.socket() as sock:
        sock.sendall(connect_head(place_of(api), proxied.token, f"{field}\r\n"))
        assert head_of(sock).startswith(b"HTTP/1.1 400 a CONNECT has no body\r\n")


def test_nothing_comes_behind_a_connect_before_its_answer(proxied: Proxied, api: OpenAIOverTLS) -> None:
    smuggled = GET.format("/health", "x", "").encode()
    with proxied.socket() as sock:
        sock.sendall(connect_head(place_of(api), proxied.token) + smuggled)
        head = head_of(sock)
        assert head.startswith(b"HTTP/1.1 400 nothing may come behind a CONNECT before its answer\r\n")
        assert _drained(sock).count(b"HTTP/1.1") == 0


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_connect_of_either_version_opens_a_tunnel(version: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    sent = connect_head(place_of(api), proxied.token).replace(b"HTTP/1.1", version.encode())
    if version == "HTTP/1.0":
        sent = sent.replace(f"Host: {place_of(api)}\r\n".encode(), b"")
    with proxied.socket() as sock:
        sock.sendall(sent)
        assert head_of(sock).startswith(b"HTTP/1.1 200 ")


def test_a_name_of_another_host_is_an_alert(proxied: Proxied, api: OpenAIOverTLS) -> None:
    context = ssl.create_default_context(cafile=str(proxied.ca))
    sock, _ = proxied.connect(place_of(api))
    with sock, pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        context.wrap_socket(sock, server_hostname="other.test")


def test_without_a_name_the_certificate_is_that_of_the_connect(proxied: Proxied, api: OpenAIOverTLS) -> None:
    context = ssl.create_default_context(cafile=str(proxied.ca))
    context.check_hostname = False
    sock, _ = proxied.connect(place_of(api))
    with context.wrap_socket(sock) as tls:
        assert tls.getpeercert()["subjectAltName"] == (("DNS", "api.test"),)  # type: ignore[index]


def test_old_tls_is_refused(proxied: Proxied, api: OpenAIOverTLS) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    sock, _ = proxied.connect(place_of(api))
    with sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock)


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1"], ["h2"], []])
def test_http_1_1_is_chosen_where_it_is_offered(offered: list[str], proxied: Proxied, api: OpenAIOverTLS) -> None:
    context = ssl.create_default_context(cafile=str(proxied.ca))
    if offered:
        context.set_alpn_protocols(offered)
    sock, _ = proxied.connect(place_of(api))
    with context.wrap_socket(sock, server_hostname="api.test") as tls:
        assert tls.selected_alpn_protocol() == ("http/1.1" if "http/1.1" in offered else None)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/v1/models", "api.test:{}", 200),
        ("/v1/models", "API.test.:{}", 200),
        ("/v1/models", "api.test", 200),
        ("https://api.test:{}/v1/models", "api.test:{}", 200),
        ("/v1/models", "other.test:{}", 421),
        ("/v1/models", "other.test", 421),
        ("/v1/models", "api.test:1", 421),
        ("/v1/models", "", 421),
        ("https://other.test:{}/v1/models", "api.test:{}", 421),
        ("http://api.test:{}/v1/models", "api.test:{}", 421),
        ("/../v1/models", "api.test:{}", 400),
        ("/%2e%2e/v1/models", "api.test:{}", 400),
        ("*", "api.test:{}", 400),
    ],
)
def test_a_tunnel_is_for_its_host_alone(
    target: str, host: str, status: int, proxied: Proxied, api: OpenAIOverTLS
) -> None:
    with proxied.tunnel(place_of(api)) as tls:
        sent = GET.format(target.replace("{}", str(api.port)), host.replace("{}", str(api.port)), "")
        tls.sendall((sent.replace("GET *", "OPTIONS *")).encode())
        assert answer_of(tls)[0] == status
    assert len(api.seen) == (status == 200)


@pytest.mark.parametrize(
    ("target", "extra", "status"),
    [("/health", "X: " + "x" * 33_000, 431), ("/" + "a" * 17_000, "", 414), ("/health", "no field", 400)],
)
def test_what_is_refused_unread_within_a_tunnel_has_the_shape_of_a_proxied_call(
    target: str, extra: str, status: int, proxied: Proxied, api: OpenAIOverTLS
) -> None:
    with proxied.tunnel(place_of(api)) as tls:
        tls.sendall(GET.format(target, place_of(api), extra + "\r\n").encode())
        got, body = answer_of(tls)
    assert (got, json.loads(body)["error"]["type"]) == (status, "invalid_request_error")


def test_there_is_no_tunnel_within_a_tunnel(proxied: Proxied, api: OpenAIOverTLS) -> None:
    with proxied.tunnel(place_of(api)) as tls:
        tls.sendall(connect_head(place_of(api), proxied.token))
        assert head_of(tls).startswith(b"HTTP/1.1 400 there is no tunnel within a tunnel\r\n")


def test_the_gateways_own_paths_are_the_apis_within_a_tunnel(proxied: Proxied, api: OpenAIOverTLS) -> None:
    with proxied.tunnel(place_of(api)) as tls:
        for path in ("/health", "/api/secret", "/api/proxy/v1/models", "/ca.pem"):
            tls.sendall(GET.format(path, place_of(api), "").encode())
            assert answer_of(tls)[0] == 404
    assert [request["path"] for request in api.seen] == ["/health", "/api/secret", "/api/proxy/v1/models", "/ca.pem"]


@pytest.mark.parametrize(
    ("target", "token", "status"),
    [
        ("http://api.test:{}/v1/models", "", 407),
        ("http://api.test:{}/v1/models", "oo_no", 407),
        ("http://api.test:{}/v1/models", "own", 403),  # an https upstream is not reached so
        ("https://api.test:{}/v1/models", "own", 400),
        ("http://other.test/v1/models", "own", 403),
    ],
)
def test_absolute_targets(target: str, token: str, status: int, proxied: Proxied, api: OpenAIOverTLS) -> None:
    shown = f"Proxy-Authorization: Bearer {proxied.token if token == 'own' else token}\r\n" if token else ""
    with proxied.socket() as sock:
        sock.sendall(GET.format(target.replace("{}", str(api.port)), "api.test", shown).encode())
        assert answer_of(sock)[0] == status
    assert api.seen == []


def test_an_http_upstream_is_reached_by_an_absolute_target(
    gateway: oo.testing.LocalGateway, proxied: Proxied, openai: object
) -> None:
    token = gateway.route("plain", openai.url, {"X-Key": "{key}"}, allow_plain_http=True)  # type: ignore[attr-defined]
    with proxied.socket() as sock:
        shown = f"Proxy-Authorization: Bearer {token}\r\n"
        sock.sendall(GET.format(f"{openai.url}/v1/models?a=b", "x", shown).encode())  # type: ignore[attr-defined]
        assert answer_of(sock)[0] == 200
        sock.sendall(connect_head(openai.url.removeprefix("http://"), token))  # type: ignore[attr-defined]
        assert head_of(sock).startswith(b"HTTP/1.1 403 ")
    [seen] = openai.seen  # type: ignore[attr-defined]
    assert seen["path"] == "/v1/models?a=b"
    assert "Proxy-Authorization" not in seen["headers"]


@pytest.mark.parametrize("place", ["Authorization: Bearer {}", "X-Api-Key: {}", "Authorization: Basic {}"])
def test_a_token_that_a_program_shows_inside_stays_here(place: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    other = proxied.gateway.issue("route", "api")
    text = base64.b64encode(f"x:{other}".encode()).decode() if "Basic" in place else other
    with proxied.tunnel(place_of(api)) as tls:
        tls.sendall(GET.format("/v1/models", place_of(api), place.format(text) + "\r\n").encode())
        assert answer_of(tls)[0] == 200
    assert text not in str(api.seen)
    assert other not in str(api.seen)


def test_a_client_that_speaks_no_tls_is_hung_up_on(proxied: Proxied, api: OpenAIOverTLS) -> None:
    sock, _ = proxied.connect(place_of(api))
    with sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
        assert b"200" not in _drained(sock)


def _drained(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(1 << 16):
            data += piece
    except ConnectionError:
        pass
    return data
