"""What the transports take from the environment, in both worlds: proxies and certificates, once; never a netrc."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faults import BODY, CLOSE, DRIPPED, GOOD, READ, SECRET, answer, nobody, serving
from tests.support.names import HOST, named, resolving
from tests.support.probing import PROBE, TOKEN, assert_bounded, failure
from tests.support.proxying import ForwardProxy
from tests.support.worlds import World

pytestmark = pytest.mark.filterwarnings("ignore:.* is plain http")


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)


def bearer(request: bytes) -> list[bytes]:
    return [line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")]


def test_no_netrc_takes_the_place_of_the_token(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving() as server:
        client = world.client(server.url)
        client.get_secret(TOKEN)
        client.health()
    assert [bearer(request) for request in server.requests] == [[f"Authorization: Bearer {TOKEN}".encode()], []]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_of_the_environment_is_used(
    world: World, name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server, ForwardProxy() as proxy:
        # urllib leaves HTTP_PROXY out where a CGI's client may have set it.
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        monkeypatch.setenv(name, scheme + proxy.address)
        client = world.client(named(server.url))
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        client.close()
    line = f"GET {named(server.url)}/api/secret HTTP/1.1".encode()
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [line]
    assert bearer(server.requests[0]) == [f"Authorization: Bearer {TOKEN}".encode()]


def test_the_proxy_s_own_credentials_go_to_the_proxy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, ForwardProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{proxy.address}")
        client = world.client(named(server.url))
        assert client.get_secret(TOKEN) == SECRET
        client.close()
    assert b"proxy-authorization: basic dxnlcjpwyxnz" in proxy.heads[0].lower()
    assert bearer(proxy.heads[0]) == [f"Authorization: Bearer {TOKEN}".encode()]


def test_the_environment_is_read_once_when_the_client_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, ForwardProxy() as proxy:
        before = world.client(named(server.url))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "elsewhere")
        during = world.client(named(server.url))
        monkeypatch.delenv("HTTP_PROXY")
        monkeypatch.setenv("NO_PROXY", "*")
        assert [before.get_secret(TOKEN), during.get_secret(TOKEN)] == [SECRET, SECRET]
        during.close()
        assert (server.connections, len(proxy.heads)) == (2, 1)


@pytest.mark.parametrize("exempt", [HOST, "*", f"elsewhere, {HOST}"])
def test_no_proxy_is_honoured(world: World, exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, nobody() as dead:
        monkeypatch.setenv("HTTP_PROXY", dead)
        monkeypatch.setenv("NO_PROXY", exempt)
        assert world.client(named(server.url)).get_secret(TOKEN) == SECRET


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_slow_proxy_does_not_hold_a_call_past_its_limit(
    world: World, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([READ, DRIPPED]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert_bounded(world, f"http://{HOST}:9", limit, PROBE["secret"][1])


def test_what_comes_through_a_proxy_is_read_as_strictly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([READ, GOOD[:25], CLOSE], [READ, answer(BODY, b"no header")]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        client = world.client(f"http://{HOST}:9")
        assert failure(PROBE["secret"][1], client).reason == "connection"
        assert failure(PROBE["secret"][1], client).reason == "protocol"


def test_a_proxy_that_is_down_is_a_connection_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, nobody() as dead:
        monkeypatch.setenv("HTTP_PROXY", dead.replace("http://", "http://user:canary-pass@"))
        error = failure(PROBE["secret"][1], world.client(named(server.url)))
        assert (error.reason, error.retryable) == ("connection", True)
        assert str(error).endswith(f"connection refused (through the proxy {dead})")
        assert "canary" not in str(error)
        assert server.connections == 0
