"""Trust: whose certificates an SSLContext holds, by the arguments and the environment."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest

import oo
from oo.transports.trust import Trust
from tests.support.certificates import Certificate, self_signed
from tests.support.faults import answer, serving
from tests.support.probing import TOKEN, failure
from tests.support.worlds import World


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("one"), "127.0.0.1")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("two"), "127.0.0.2")


def serials(*files: str) -> set[str]:
    return {ssl._ssl._test_decode_cert(file)["serialNumber"] for file in files}  # type: ignore[attr-defined]


def trusted(trust: Trust) -> set[str]:
    return {str(each["serialNumber"]) for each in trust.context.get_ca_certs()}


def test_the_first_that_is_named_counts(one: Certificate, two: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    for name, file in zip(names, (one.file, two.file, one.file), strict=True):
        monkeypatch.setenv(name, file)
        assert trusted(Trust()) == serials(file)
    assert trusted(Trust(two.file)) == trusted(Trust(Path(two.file))) == serials(two.file)
    for name in names:
        monkeypatch.setenv(name, "")
    assert trusted(Trust()) - serials(one.file, two.file)


def test_a_folder_may_be_named(one: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The store of a folder is looked into during a handshake.
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{tmp_path}")
    assert trusted(Trust()) == set()
    monkeypatch.setenv("SSL_CERT_FILE", one.file)
    assert trusted(Trust()) == serials(one.file)


def test_without_a_name_the_system_s_and_certifi_s_are_trusted(
    one: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certifi.where", lambda: one.file)
    system = ssl.create_default_context().get_ca_certs()
    assert trusted(Trust()) == serials(one.file) | {str(each["serialNumber"]) for each in system}


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(tmp_path / "none"))
    trust = Trust()
    with pytest.raises(oo.DoubleOError, match=f"that {name} names cannot be read") as caught:
        trust.context  # noqa: B018
    assert (caught.value.reason, caught.value.retryable) == ("tls", False)


@pytest.mark.parametrize("verify", [True, False, 1, b"path"])
def test_what_is_no_path_and_no_context_is_refused(world: World, verify: Any) -> None:
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        world.client("http://127.0.0.1:1", verify=verify)


def test_arguments_that_would_be_ignored_are_refused(world: World) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ValueError, match="load_cert_chain"):
        world.client("http://127.0.0.1:1", verify=context, cert="a.pem")
    with pytest.raises(ValueError, match="default transport"):
        world.client("http://127.0.0.1:1", verify=context, transport=oo.testing.MockTransport([]))


def test_a_client_trusts_whom_it_is_told_to(world: World, one: Certificate, two: Certificate) -> None:
    context = ssl.create_default_context(cafile=one.file)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with serving(tls=one.server, reply=lambda _request: answer()) as server:
        for verify in (one.file, Path(one.file), context, anyone):
            client = world.client(server.url, verify=verify)
            assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == ["good", "good"]
            client.close()
        error = failure(lambda client: client.get_secret(TOKEN), world.client(server.url, verify=two.file))
        assert error.reason == "tls"
        assert server.connections == 5
    assert (anyone.verify_mode, context.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)


def test_a_server_may_ask_for_a_certificate(world: World, one: Certificate, tmp_path: Path) -> None:
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(one.both)
    asking.load_verify_locations(one.file)
    asking.verify_mode = ssl.CERT_REQUIRED
    with serving(tls=asking, reply=lambda _request: answer()) as server:
        for cert in (one.both, (one.file, one.both)):
            assert world.client(server.url, verify=one.file, cert=cert).get_secret(TOKEN) == "good"
        failure(lambda client: client.get_secret(TOKEN), world.client(server.url, verify=one.file))
        lost = world.client(server.url, verify=one.file, cert=str(tmp_path / "none.pem"))
        assert "cert names cannot be read" in str(failure(lambda client: client.get_secret(TOKEN), lost))
