"""Each situation of the network, by every way that a request leaves this library: one answer for all of them."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import Certificate, self_signed
from tests.support.faults import (
    CLOSE,
    GULP,
    NOTIFY,
    READ,
    RESET,
    SILENCE,
    Script,
    answer,
    head,
    nobody,
    serving,
)
from tests.support.names import HOST, named, resolving
from tests.support.probing import TOKEN
from tests.support.proxying import ForwardProxy
from tests.support.ways import Outcome, Way

pytestmark = pytest.mark.filterwarnings("ignore:.* is plain http")

GOOD = Outcome(200, {"value": "good"})


@pytest.fixture(params=["blocking", "asyncio", "gateway"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    with ExitStack() as stack:
        yield Way(request.param, stack)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def good(*scripts: Script, **settings: object) -> serving:
    def reply(request: bytes) -> bytes:
        return head(b"Content-Length: 0") if request.startswith(b"HEAD") else answer()

    return serving(*scripts, reply=reply, **settings)  # type: ignore[arg-type]


# Forward proxies.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "gate.localhost"])
def test_this_machine_is_reached_through_no_proxy(way: Way, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"gate.localhost": ["127.0.0.1"], "localhost": ["127.0.0.1"]})
    with good() as server, ForwardProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert way.call(named(server.url, host)) == GOOD
        assert (server.connections, proxy.heads) == (1, [])


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "0"])
def test_this_machine_is_reached_by_any_spelling_of_its_address(
    way: Way, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with good() as server, ForwardProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert [way.call(named(server.url, host)), way.call(named(server.url, host), "v1/x?a=%2F%0A")] == [GOOD, GOOD]
        assert (server.connections, proxy.heads) == (1, [])
        assert b"/v1/x?a=%2F%0A HTTP/1.1\r\n" in server.requests[1]


def test_a_name_below_localhost_that_is_not_this_machine_is_reached_through_the_proxy(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, {"gate.localhost": ["192.0.2.1"]})
    with good([READ, answer()]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setattr("oo.transports.localhost_names._warned", set())
        with pytest.warns(UserWarning, match=r"gate\.localhost is not this machine"):
            assert way.call("http://gate.localhost:9") == GOOD
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("exempt", ["127.0.0.0/8", "gateway.example", ".example", "*", "{host}:{port}", "x y,EXAMPLE"])
def test_no_proxy_exempts(way: Way, exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with good() as server, nobody() as dead:
        monkeypatch.setenv("HTTP_PROXY", dead)
        monkeypatch.setenv("NO_PROXY", exempt.format(host=HOST, port=server.port))
        assert way.call(server.url if "/" in exempt else named(server.url)) == GOOD


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_either_scheme_goes_through_a_proxy_of_either(
    way: Way, scheme: str, proxy_scheme: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    tls = {"http": None, "https": certificate.server}
    with good(tls=tls[scheme]) as server, ForwardProxy(tls[proxy_scheme]) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        if sys.version_info < (3, 11) and scheme == proxy_scheme == "https" and way.name != "blocking":
            assert f"through the https proxy {proxy.url} before Python 3.11" in way.call(named(server.url)).said
            return
        for _ in range(2):
            assert way.call(named(server.url), "v1/x", "POST", {"file": "x" * (1 << 20)}) == GOOD
        assert (server.connections, len(server.requests), len(proxy.heads)) == (1, 2, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_trusted_gets_no_request(
    way: Way, scheme: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with good() as server, ForwardProxy(certificate.server) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        said = way.call(named(server.url).replace("http:", f"{scheme}:")).said
        if not (sys.version_info < (3, 11) and scheme == "https" and way.name != "blocking"):  # refused before that
            assert f"certificate is not trusted: self-signed certificate (through the proxy {proxy.url})" in said
        assert (server.connections, proxy.heads) == (0, [])


def test_a_proxy_that_is_not_there_is_named(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody() as dead:
        monkeypatch.setenv("HTTP_PROXY", dead.replace("http://", "http://user:canary@"))
        said = way.call(f"http://{HOST}:9").said
    assert f"connection refused (through the proxy {dead})" in said
    assert "oo serve" not in said
    assert "canary" not in said


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [407, 403])
def test_what_a_proxy_refuses_is_not_tried_again(
    way: Way, scheme: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(b'{"error": "who?"}', status=b"%d No" % status)
    with serving([READ, refusal, CLOSE]) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        outcome = way.call(f"{scheme}://{HOST}:9")
        if scheme == "http" and status == 403:  # whose it is cannot be told
            assert outcome == Outcome(403, {"error": "who?"})
        else:
            assert f"the proxy refused it ({status}) (through the proxy {proxy.url})" in outcome.said
            assert way.name == "gateway" or not outcome.retryable
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "socks5h://u:canary@127.0.0.1:1", "SOCKS4://h:1", "ftp://h"])
def test_a_proxy_of_a_scheme_that_is_not_spoken_is_refused_in_words(
    way: Way, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    outcome = way.call(f"https://{HOST}")
    assert f"speaks {proxy.partition(':')[0].lower()}, which is not supported" in outcome.said
    assert "canary" not in outcome.said
    with good() as server:
        assert way.call(server.url) == GOOD


# Trust.


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_says_whom_to_trust(
    way: Way, name: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, certificate.file)
    with good(tls=certificate.server) as server:
        assert [way.call(server.url), way.call(server.url)] == [GOOD, GOOD]
        assert server.connections == 1


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", None])
def test_who_is_not_named_is_not_trusted(
    way: Way, name: str | None, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name is not None:
        monkeypatch.setenv(name, self_signed(tmp_path, "127.0.0.2").file)
    with good(tls=certificate.server) as server:
        assert "certificate is not trusted" in way.call(server.url).said
        assert server.requests == []


def test_an_answer_without_a_length_is_whole_only_with_close_notify(
    way: Way, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    endless = head(b"Content-Type: application/json") + b'{"value": "good"}'
    with serving([READ, endless, NOTIFY, CLOSE], [READ, endless, CLOSE], tls=certificate.server) as server:
        assert way.call(server.url) == GOOD
        outcome = way.call(server.url)
    assert outcome.status is None or way.name == "gateway"
    assert outcome != GOOD


# Connections.


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no SYN: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.mark.parametrize("holes", [1, 3])
def test_a_host_answers_though_its_first_addresses_swallow_packets(
    way: Way, holes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with good() as server, black_hole() as hole:
        resolving(monkeypatch, {HOST: [*[hole] * holes, ("127.0.0.1", server.port)]})
        assert way.call(named(server.url)) == GOOD


def test_a_host_answers_though_its_first_address_refuses(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    with good() as server, nobody() as dead:
        resolving(monkeypatch, {HOST: [("127.0.0.1", int(dead.rpartition(":")[2])), ("127.0.0.1", server.port)]})
        assert way.call(named(server.url)) == GOOD


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    ("method", "key"), [("GET", ""), ("HEAD", ""), ("OPTIONS", ""), ("POST", "k1"), ("PATCH", "k2"), ("DELETE", "k3")]
)
def test_what_is_idempotent_is_sent_again_where_its_kept_connection_was_closed(
    way: Way, method: str, key: str, end: str
) -> None:
    with good([READ, answer(), READ, end]) as server:
        assert way.call(server.url) == GOOD
        keyed = {"Idempotency_Key": key} if key else {}
        outcome = way.call(server.url, "v1/y", method, None, **keyed)
        if way.name == "gateway" and key:  # the gateway answers for the key: it does not go upstream
            assert outcome.status in (None, 200)
            return
        assert outcome.status == 200
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_is_not_idempotent_is_sent_once(way: Way, method: str, end: str) -> None:
    with good([READ, answer(), READ, end]) as server:
        assert way.call(server.url) == GOOD
        assert way.call(server.url, "v1/y", method).status is None
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("steps", [[READ, b"H", CLOSE], [READ, answer()[:-3], CLOSE]], ids=["a byte", "a body"])
def test_what_was_answered_in_part_is_not_sent_again(way: Way, steps: list[object]) -> None:
    with good([READ, answer(), *steps]) as server:  # type: ignore[list-item]
        assert way.call(server.url) == GOOD
        assert way.call(server.url) != GOOD
        assert (server.connections, len(server.requests)) == (1, 2)


def test_a_new_connection_that_closes_is_no_reason_to_send_again(way: Way) -> None:
    with good([READ, CLOSE]) as server:
        assert way.call(server.url).status is None
        assert (server.connections, len(server.requests)) == (1, 1)


REFUSAL = answer(b'{"error": "too large"}', status=b"413 Too Large")


EARLY: dict[str, list[object]] = {"reset": [RESET], "close": [CLOSE], "kept": [SILENCE], "late reset": [0.05, RESET]}


@pytest.mark.parametrize("end", EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("turn", range(3))
def test_an_answer_before_the_body_was_sent_reaches_the_caller(way: Way, end: list[object], turn: int) -> None:
    with good([GULP, REFUSAL, *end]) as server:  # type: ignore[list-item]
        outcome = way.call(server.url, "v1/x", "POST", {"file": "x" * (6 << 20)})
        assert outcome == Outcome(413, {"error": "too large"})
        assert way.call(server.url) == GOOD


@pytest.mark.parametrize("end", EARLY.values(), ids=EARLY)
def test_an_early_answer_over_tls_reaches_the_caller(
    way: Way, end: list[object], certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate.file)
    for _ in range(3):
        with good([GULP, REFUSAL, *end], tls=certificate.server) as server:  # type: ignore[list-item]
            outcome = way.call(server.url, "v1/x", "POST", {"file": "x" * (6 << 20)})
            assert outcome == Outcome(413, {"error": "too large"})
            assert way.call(server.url) == GOOD


# What is written down.


def test_no_query_is_in_a_log_line(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    with good([READ, answer(), READ, RESET]) as server:
        for _ in range(3):
            way.call(server.url, "v1/x?key=canary-query")
    if way.name == "blocking":
        assert '"GET /api/proxy/v1/x HTTP/' in caplog.text
    assert "canary" not in caplog.text
    assert TOKEN not in caplog.text
