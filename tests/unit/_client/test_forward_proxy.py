from __future__ import annotations

import ssl
import time

import pytest

import oo
from oo._client import forward_proxy
from oo._client.forward_proxy import (
    PLACEHOLDER,
    REMOVED,
    Files,
    authority,
    inherited,
    joined,
    others,
    proxy_url,
    variables,
)
from oo.gateway.authority import ca_certificate, new_key
from oo.gateway.models import AuthorityKey
from oo.testing import MockTransport

FILES = Files("/f/bundle.pem", "/f/ca.pem", "/f/wgetrc")
ONE, TWO = (f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----" for text in ("AAAA", "BBBB"))


@pytest.mark.parametrize(
    ("base", "place", "url"),
    [
        ("http://127.0.0.1:3001", "", "http://oo:t1,t2@127.0.0.1:3001"),
        ("https://gw.example", "", "https://oo:t1,t2@gw.example"),
        ("https://gw.example", "127.0.0.1:9", "http://oo:t1,t2@127.0.0.1:9"),
    ],
)
def test_the_token_is_the_proxys_password(base: str, place: str, url: str) -> None:
    assert proxy_url(base, "t1,t2", place) == url


@pytest.mark.parametrize(
    ("base", "needs"), [("http://a", False), ("https://a", True), ("http+unix://%2Frun%2Foo.sock", True)]
)
def test_most_programs_speak_plain_http_to_a_proxy(base: str, needs: bool) -> None:
    assert forward_proxy.needs_forwarder(base) is needs


def test_every_variable_that_some_program_reads() -> None:
    found = variables("http://oo:t@h", FILES, ("GH_TOKEN",))
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://oo:t@h")
    bundles = (
        "SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO PIP_CERT AWS_CA_BUNDLE npm_config_cafile "
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH CARGO_HTTP_CAINFO CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE NIX_SSL_CERT_FILE"
    )
    assert found == {
        **proxies,
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
        "NODE_USE_ENV_PROXY": "1",
        **dict.fromkeys(bundles.split(), FILES.bundle),
        **dict.fromkeys(("NODE_EXTRA_CA_CERTS", "DENO_CERT"), FILES.extra),
        "WGETRC": FILES.wgetrc,
        "GH_TOKEN": PLACEHOLDER,
    }


def test_what_would_lead_past_is_removed() -> None:
    assert inherited({**dict.fromkeys(REMOVED, "x"), "PATH": "/bin"}) == {"PATH": "/bin"}
    assert {"OO_TOKEN", "ALL_PROXY", "SSL_CERT_DIR", "NODE_TLS_REJECT_UNAUTHORIZED"} < set(REMOVED)


def test_certificates_are_joined_once_each() -> None:
    windows = ONE.replace("\n", "\r\n")
    assert joined(f"text\n{ONE}\nmore", f"{TWO}{windows}", "") == f"{ONE}\n{TWO}\n"


@pytest.mark.parametrize("own", ["", "quiet = on", "quiet = on\n"])
def test_wgets_settings_are_the_users_own_and_one_line(own: str) -> None:
    assert forward_proxy.wgetrc(own, "/b") == ("quiet = on\n" if own else "") + "ca_certificate = /b\n"


def test_the_trusted_of_another_run_are_not_kept() -> None:
    assert forward_proxy.wgetrc("CA-Certificate=/old\nquiet = on\nca_certificate = /older\n", "/b") == (
        "quiet = on\nca_certificate = /b\n"
    )


def test_certificates_of_gateways_are_left_out_and_no_others() -> None:
    keys = [AuthorityKey(new_key(), 0.0) for _ in range(2)]
    theirs = [ca_certificate(key, ["api.test"], time.time()) for key in keys]
    other = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(theirs[0]).replace(b"Double-O ", b"Somebody "))
    assert others(theirs[0] + ONE + theirs[1] + other) == f"{ONE}\n{other}"
    broken = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"
    assert others(broken) == f"{broken}\n"


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        *((name, True) for name in ("OPENAI_API_KEY", "GH_TOKEN", "_k", "a1")),
        *((name, False) for name in ("", "A=sk-1", "a b", "1A", "GH_TOKEN\n", "LD_PRELOAD", "PATH", "OO_TOKEN")),
        *((name, False) for name in ("HTTPS_PROXY", "https_proxy", "no_proxy", "SSL_CERT_FILE", "WGETRC", "DENO_CERT")),
    ],
)
def test_a_placeholder_steers_nothing(name: str, takes: bool) -> None:
    assert forward_proxy.takes_placeholder(name) is takes


def test_the_certificates_are_asked_for_with_the_token() -> None:
    transport = MockTransport([ONE.encode(), 401])
    with oo.Client("http://127.0.0.1:1", transport=transport) as client:
        assert client._send(authority(client._factory, "oo_t")).value == ONE
        with pytest.raises(oo.AuthenticationError):
            client._send(authority(client._factory, "oo_t"))
    assert transport.requests[0].url == "http://127.0.0.1:1/ca.pem"
    assert transport.requests[0].headers["Authorization"] == "Bearer oo_t"
    with pytest.raises(oo.AuthenticationError), oo.Client("http://127.0.0.1:1") as client:
        authority(client._factory, "a b")
