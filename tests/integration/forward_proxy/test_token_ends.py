"""A tunnel ends with its token, whatever it is at."""

from __future__ import annotations

import json
import ssl
import time

import pytest

from oo.gateway.open_calls import OpenTunnel
from tests.support.private_hosts import OpenAIOverTLS
from tests.support.tunnels import Proxied, answer_of, head_of
from tests.support.waiting import PATIENCE, SOON

pytestmark = pytest.mark.usefixtures("loops")


def head(api: OpenAIOverTLS) -> bytes:
    return f"GET /v1/models HTTP/1.1\r\nHost: api.test:{api.port}\r\n\r\n".encode()


@pytest.mark.parametrize("at", ["its handshake", "its first request", "its next request"])
@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_silent_tunnel_ends_with_its_token(at: str, end: str, proxied: Proxied, api: OpenAIOverTLS) -> None:
    gateway, place = proxied.gateway, f"api.test:{api.port}"
    token = gateway.issue("route", "api", ttl=1.0 if end == "expired" else None)
    sock, other = proxied.connect(place, token)[0], proxied.tunnel(place)
    with sock, other:
        if at != "its handshake":
            context = ssl.create_default_context(cafile=str(proxied.ca))
            sock = context.wrap_socket(sock, server_hostname="api.test")
        with sock:
            if at == "its next request":
                sock.sendall(head(api))
                assert answer_of(sock)[0] == 200
            if end == "revoked":
                gateway.run(gateway.vault.revoke(gateway.vault.id_of(token)))
            began = time.monotonic()
            sock.settimeout(PATIENCE)
            try:
                assert sock.recv(1) == b""
            except ConnectionError:
                assert at == "its handshake"
            assert time.monotonic() - began < 8  # before the timeout of a head or of an idle connection
        other.sendall(head(api))
        assert answer_of(other)[0] == 200


def test_what_is_under_way_in_it_is_answered(
    proxied: Proxied, api: OpenAIOverTLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    real = OpenTunnel.end

    def end(self: OpenTunnel, denial: object) -> None:
        left.append("tunnel")
        real(self, denial)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenTunnel, "end", end)
    gateway = proxied.gateway
    token = gateway.issue("route", "api")
    with proxied.tunnel(f"api.test:{api.port}", token) as tls:
        fields = f"Host: api.test:{api.port}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        tls.sendall(f"POST /echo HTTP/1.1\r\n{fields}\r\n".encode())
        assert head_of(tls) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the upstream is asked, and waits for the body
        gateway.run(gateway.vault.revoke(gateway.vault.id_of(token)))
        status, body = answer_of(tls)
        assert (status, json.loads(body)["error"]["message"]) == (403, "the token was not accepted: it was revoked")
        tls.settimeout(SOON)
        assert tls.recv(1) == b""
    assert left == ["tunnel"]
