"""TLS, in both worlds: what is not trusted is an error at once, and what is slow is late as anything else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Certificate, self_signed
from tests.support.faults import CLOSE, DRIPPED, GOOD, GULP, READ, RESET, SECRET, SILENCE, Drip, serving
from tests.support.names import HOST, named, resolving
from tests.support.probing import PROBE, TOKEN, assert_bounded, failure
from tests.support.proxying import ForwardProxy
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")


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
    other = self_signed(tmp_path, "127.0.0.2")
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
        assert str(error).endswith(": is it http:// instead of https://?")


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
        resolving(monkeypatch)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = world.client(named(server.url))
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        client.close()
    assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", f"{HOST}:{server.port}".encode()]]
    assert TOKEN.encode() not in b"".join(proxy.heads)


@pytest.mark.parametrize("status", [301, 403, 404, 407, 500, 502, 503, 504])
def test_a_proxy_that_refuses_a_tunnel_is_named_and_asked_again_only_where_it_may_help(
    world: World, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([READ, f"HTTP/1.1 {status} No\r\n\r\n".encode(), CLOSE]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://user:canary-pass@"))
        error = failure(PROBE["secret"][1], world.client(f"https://{HOST}:9"))
        assert (error.reason, error.retryable, error.status) == ("connection", status >= 500, None)
        assert f"refused it ({status}) (through the proxy {proxy.url})" in str(error)
        assert "canary" not in str(error)
        assert TOKEN.encode() not in b"".join(proxy.requests)
