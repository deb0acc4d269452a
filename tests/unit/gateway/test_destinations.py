from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo.gateway.destinations import (
    MOST_TOKENS,
    Destination,
    absolute_form,
    authority_of,
    base_in,
    hosts_of,
    tokens_of,
    upstream_at,
)
from oo.gateway.models import Route, Upstream


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("api.test:443", ("api.test", 443)),
        ("API.Test.:443", ("api.test", 443)),
        ("a_b-c.test:1", ("a_b-c.test", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]:443", ("::1", 443)),
        ("[0:0::1]:443", ("::1", 443)),
        ("[::ffff:1.2.3.4]:443", ("::ffff:102:304", 443)),
        *((wrong, None) for wrong in ("", ":443", ".:443", "..:443", "a..b:443", ".a:443", "a", "a:", "a:0")),
        *((wrong, None) for wrong in ("a:65536", "a:999999", "a:-1", "a:4 3", "a b:443", "u@a:443", "a:1/x", "[::1:1")),
        *((wrong, None) for wrong in ("[:::1]:1", "::1:443", "[1.2.3.4]:1", "a\n:443", "a:443\n", "\u0430.test:443")),
    ],
)
def test_a_host_and_a_port(target: str, place: tuple[str, int] | None) -> None:
    found = authority_of(target)
    assert found == place or (place is not None and found is not None and found[1] == place[1] and "::ffff" in target)


@given(st.text(max_size=40))
def test_nothing_else_is_one(text: str) -> None:
    found = authority_of(text)
    if found is not None:
        assert text.isascii()
        assert not set(text) & set("@/?# \t\r\n\\")
        assert 0 < found[1] < 65536
        assert authority_of(f"[{found[0]}]:{found[1]}" if ":" in found[0] else f"{found[0]}:{found[1]}") == found


@pytest.mark.parametrize(
    ("host", "place"),
    [("a", ("a", 80)), ("a:81", ("a", 81)), ("[::1]", ("::1", 80)), ("[::1]:81", ("::1", 81)), ("a:", None)],
)
def test_a_port_may_be_left_out_where_it_is_known(host: str, place: tuple[str, int] | None) -> None:
    assert authority_of(host, 80) == place


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("http://a.test/x?y=/z", ("http", "a.test", 80, "/x?y=/z")),
        ("HTTPS://A.test", ("https", "a.test", 443, "/")),
        ("http://a.test:81?q", ("http", "a.test", 81, "/?q")),
        ("http://[::1]/", ("http", "::1", 80, "/")),
        *((wrong, None) for wrong in ("/x", "*", "a.test:443", "ftp://a/", "http://", "http:///x", "http://u@a/")),
        *((wrong, None) for wrong in ("http://a\\b/", "http://a#b", "http://a:0/")),
    ],
)
def test_an_absolute_target(target: str, found: object) -> None:
    assert absolute_form(target) == found


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode("latin-1")).decode()


@pytest.mark.parametrize(
    ("credential", "tokens"),
    [
        (basic("oo:t"), ("t",)),
        (basic(":t"), ("t",)),
        (basic("t"), ("t",)),
        (basic("t:"), ("t",)),
        (basic("oo:a,b , c,"), ("a", "b", "c")),
        (basic("oo:a:b"), ("a:b",)),
        ("bearer  a,b", ("a", "b")),
        (" Bearer t ", ("t",)),
        *(
            (wrong, ())
            for wrong in ("", "Basic", "Basic !", "Basic é", "Bearer", "Digest t", "t", basic(":"), basic(","))
        ),
        (basic("oo:" + ",".join("t" * (MOST_TOKENS + 1))), ()),
    ],
)
def test_the_tokens_of_a_credential(credential: str, tokens: tuple[str, ...]) -> None:
    assert tokens_of(credential) == tokens


@given(st.text(max_size=60), st.sampled_from(["", "Basic ", "Bearer "]))
def test_any_credential_has_bounded_tokens(text: str, scheme: str) -> None:
    assert len(tokens_of(scheme + text)) <= MOST_TOKENS


def test_no_token_is_shown() -> None:
    to = Destination("https", "::1", 443, ("oo_secret",))
    assert (repr(to), str(to)) == ("Destination([::1]:443)", "[::1]:443")


ROUTE = Route("r", "https://a.test/v1", others=(Upstream("http://b.test:81"), Upstream("http+unix://%2Frun%2Fs")))


@pytest.mark.parametrize(
    ("scheme", "host", "port", "url"),
    [
        ("https", "a.test", 443, "https://a.test/v1"),
        ("http", "b.test", 81, "http://b.test:81"),
        ("http", "a.test", 443, None),
        ("https", "a.test", 80, None),
        ("https", "b.test", 81, None),
        ("https", "sub.a.test", 443, None),
        ("http", "%2frun%2fs", 80, None),
    ],
)
def test_the_upstream_that_a_caller_names(scheme: str, host: str, port: int, url: str | None) -> None:
    found = upstream_at(ROUTE, Destination(scheme, host, port, ()))
    assert (None if found is None else found.url) == url


@pytest.mark.parametrize(
    ("url", "path", "base"),
    [
        ("https://a", "/x?y", "/"),
        ("https://a", "/", "/"),
        ("https://a", "/?y", "/"),
        ("https://a/v1", "/v1/x", "/v1/"),
        ("https://a/v1/", "/v1/x", "/v1/"),
        ("https://a/v1", "/v1", "/v1"),
        ("https://a/v1", "/v1?x", "/v1"),
        ("https://a/v1", "/v10/x", None),
        ("https://a/v1", "/x/v1/", None),
        ("https://a/v1", "/", None),
        ("https://a/v1.0", "/v1x0/", None),
        ("https://a/bot{key}", "/botany/x", "/botany/"),
        ("https://a/bot{key}/x", "/bot/x/y", "/bot/x/"),
        ("https://a/bot{key}/x", "/bota/b/x/y", None),
        ("https://a/bot{key}", "/bot?x/y", "/bot"),
    ],
)
def test_what_of_a_path_is_the_upstreams(url: str, path: str, base: str | None) -> None:
    assert base_in(Upstream(url), path) == base


def test_a_unix_socket_is_nowhere() -> None:
    assert base_in(Upstream("http+unix://%2Frun%2Fs"), "/x") is None


def test_the_hosts_of_routes() -> None:
    other = Route("o", "https://c.test:8443", others=(Upstream("https://a.test"),))
    assert hosts_of([ROUTE, other]) == ["a.test", "c.test"]
