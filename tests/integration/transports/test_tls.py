"""TLS, in both worlds: what is not trusted is an error at once, and what is slow is late as anything else is."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.faults import CLOSE, DRIPPED, GOOD, GULP, READ, RESET, SECRET, SILENCE, Drip, serving
from tests.support.probing import PROBE, TOKEN, assert_bounded, failure
from tests.support.proxying import ForwardProxy
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


class Certificate(NamedTuple):
    """A self-signed certificate: the file to trust, and the server's side."""

    file: str
    server: ssl.SSLContext


def made(directory: Path, address: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "double-o test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, both = directory / f"{address}.pem", directory / f"{address}.both"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(trusted.read_bytes() + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return Certificate(str(trusted), context)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate.file)
    return certificate


def test_an_untrusted_certificate_is_an_error_at_once(world: World, certificate: Certificate) -> None:
    with serving(tls=certificate.server) as server:
        client = world.client(server.url, retries=3, backoff_factor=0.001)
        error = failure(PROBE["secret"][1], client)
        assert (error.reason, error.retryable, error.status, error.attempts) == ("tls", False, None, 1)
        assert "not trusted" in str(error)
        assert (server.connections, server.requests) == (1, [])


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_that_the_environment_names_is_trusted(
    world: World, certificate: Certificate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, certificate.file)
    with serving(tls=certificate.server) as server:
        client = world.client(server.url)
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        assert server.connections == 1


def test_a_certificate_of_another_host_is_an_error(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made(tmp_path, "127.0.0.2")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.file)
    with serving(tls=other.server) as server:
        error = failure(PROBE["secret"][1], world.client(server.url))
        assert (error.reason, error.retryable, server.requests) == ("tls", False, [])


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read_is_an_error_of_ours(
    world: World, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with serving(tls=certificate.server) as server:
        error = failure(PROBE["secret"][1], world.client(server.url))
        assert (error.reason, error.retryable, server.requests) == ("tls", False, [])


def test_a_server_without_tls_is_an_error(world: World) -> None:
    with serving([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as server:
        error = failure(PROBE["secret"][1], world.client(server.url.replace("http:", "https:")))
        assert (error.reason, error.retryable, server.requests) == ("tls", False, [])


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_that_ends_in_the_handshake_is_a_connection_error(world: World, end: str) -> None:
    with serving([GULP, end]) as server:
        error = failure(PROBE["secret"][1], world.client(server.url.replace("http:", "https:")))
        assert (error.reason, error.retryable) == ("connection", True)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_an_answer_cut_short_under_tls_is_a_connection_error(world: World, end: str, trusted: Certificate) -> None:
    with serving([READ, GOOD[:-9], 0.02, end], tls=trusted.server) as server:
        client = world.client(server.url)
        error = failure(PROBE["secret"][1], client)
        assert (error.reason, error.retryable, len(server.requests)) == ("connection", True, 1)
        assert client.get_secret(TOKEN) == SECRET


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("steps", [[READ, SILENCE], [READ, DRIPPED]], ids=["silence", "drip"])
def test_a_slow_server_under_tls_does_not_hold_a_call_past_its_limit(
    world: World, limit: str, steps: list[object], trusted: Certificate
) -> None:
    with serving(steps, tls=trusted.server) as server:
        assert_bounded(world, server.url, limit, PROBE["secret"][1])


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize(
    "steps", [[PATIENCE], [Drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 3000, 0.02)]], ids=["silence", "drip"]
)
def test_a_slow_handshake_does_not_hold_a_call_past_its_limit(world: World, limit: str, steps: list[object]) -> None:
    with serving(steps) as server:
        assert_bounded(world, server.url.replace("http:", "https:"), limit, PROBE["secret"][1])


def test_a_proxy_of_the_environment_tunnels_tls(
    world: World, trusted: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tls=trusted.server) as server, ForwardProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = world.client(server.url)
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        client.close()
    assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", f"127.0.0.1:{server.port}".encode()]]
    assert TOKEN.encode() not in b"".join(proxy.heads)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who are you\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"])
def test_a_proxy_that_refuses_a_tunnel_is_a_connection_error(
    world: World, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([READ, answer, CLOSE]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(PROBE["secret"][1], world.client("https://127.0.0.1:9"))
        assert (error.reason, error.retryable, error.status) == ("connection", True, None)
        assert TOKEN.encode() not in b"".join(proxy.requests)
