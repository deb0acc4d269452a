"""Base URLs and proxied paths: what is refused, and what reaches the wire.

`tests/support/examples.py` says how to run more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url
from yarl import URL

import oo
from oo._http.urls import base_url, is_localhost_name, is_loopback, proxied, sent
from oo.testing import MockTransport
from tests.support.examples import EXAMPLES
from tests.support.faults import FaultServer, serving
from tests.support.waiting import PATIENCE
from tests.support.worlds import World

TOKEN = "a-token-for-paths"
HOME = "/api/proxy/"

NO_URLS: dict[str, Any] = {
    "empty": "",
    "a blank": " ",
    "no string": 5,
    "bytes": b"http://localhost",
    "another scheme": "ftp://localhost",
    "no scheme": "localhost:3001",
    "a relative reference": "//localhost",
    "one slash": "http:/localhost",
    "no slash": "http:localhost",
    "no host": "http://",
    "a path for a host": "http:///localhost",
    "a port alone": "http://:3001",
    "a blank within": "http://local host",
    "a blank before": " http://localhost",
    "a blank after": "http://localhost ",
    "a backslash": "http://localhost\\@other.test",
    "a line end": "http://localhost\n",
    "a tab": "http://local\thost",
    "a NUL": "http://localhost\0",
    "non-ASCII": "http://l\u00f6calhost",
    "a full-width letter": "http://\uff4cocalhost",
    "a user": "http://someone@localhost",
    "a user and a password": "http://someone:canary-55@localhost",
    "an empty user": "http://@localhost",
    "a query": "http://localhost?a=canary-55",
    "an empty query": "http://localhost/?",
    "a fragment": "http://localhost/#canary-55",
    "a port in words": "http://localhost:http",
    "a negative port": "http://localhost:-1",
    "a port with a sign": "http://localhost:+80",
    "a port of full-width digits": "http://localhost:\uff18\uff10",
    "port 0": "http://localhost:0",
    "a port too high": "http://localhost:65536",
    "two ports": "http://localhost:80:81",
    "an open bracket": "http://[::1",
    "IPv6 without brackets": "http://::1",
    "brackets around a name": "http://[localhost]",
    "brackets around IPv4": "http://[127.0.0.1]",
    "an address of the future": "http://[v1.x]",
    "a tail behind an address": "http://[::1]other.test",
    "an empty label": "http://a..b",
    "a leading dot": "http://.localhost",
    "a label too long": "http://" + "a" * 64,
    "a name too long": "http://" + ".".join(["a" * 60] * 5),
    "an escape in the host": "http://other.test%2f.localhost",
    "a parameter in the host": "http://other.test;.localhost",
    "a star": "http://*.localhost",
    "a quote in the host": 'http://a"b',
    "two slashes before the path": "http://localhost//a",
    "half an escape": "http://localhost/%z",
}


@pytest.mark.parametrize("url", NO_URLS.values(), ids=NO_URLS)
def test_what_is_no_base_url_is_refused_when_the_client_is_made(world: World, url: Any) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        world.client(url, transport=MockTransport([]))
    assert "canary-55" not in str(caught.value)


@pytest.mark.parametrize("url", NO_URLS.values(), ids=NO_URLS)
def test_what_is_no_base_url_is_the_error_of_a_functions_operation(url: Any) -> None:
    calls = {
        oo.SecretError: lambda: oo.get_secret(TOKEN, base_url=url),
        oo.EnvError: lambda: oo.get_env(TOKEN, base_url=url),
        oo.ProxyError: lambda: oo.proxy("v1/x", TOKEN, base_url=url),
    }
    for kind, call in calls.items():
        with pytest.raises(kind) as caught:
            call()
        assert (type(caught.value), caught.value.reason) == (kind, "argument")
        assert "canary-55" not in str(caught.value)


LEAVING: dict[str, str] = {
    "a step up": "..",
    "a step up first": "../secret",
    "a step up behind a slash": "/../secret",
    "a step up within": "v1/../../secret",
    "a step up last": "v1/..",
    "a step on the spot": "./v1",
    "a dot alone": "v1/./x",
    "escaped": "%2e%2e/secret",
    "escaped in capitals": "%2E%2E/secret",
    "escaped in both": "v1/%2e%2E/x",
    "half escaped": ".%2e/secret",
    "an escaped slash": "..%2fsecret",
    "escaped altogether": "v1%2f%2e%2e%2f%2e%2e%2fsecret",
    "escaped twice": "%252e%252e/secret",
    "escaped twice within": "v1/.%252E/x",
    "escaped nine times": "%" + "25" * 9 + "2e./secret",
    "escaped a thousand times": "%" + "25" * 1000 + "2e./secret",
    "with escaped digits": "%25%32%65./secret",
    "a parameter": "..;x/secret",
    "an escaped parameter": "..%3bx/secret",
    "an escaped query": "..%3fx/secret",
    "an escaped fragment": "..%23x/secret",
    "a blank behind": ".. /secret",
    "an escaped blank behind": "..%20/secret",
    "another host": "//other.test/x",
    "another host behind a third slash": "///other.test/x",
    "a URL": "http://other.test/x",
    "a URL behind a slash": "/http://other.test/x",
    "a URL in capitals": "HTTPS://other.test/x",
    "a scheme before one slash": "file:/etc/passwd",
    "a scheme that needs none": "https:other.test/x",
    "a backslash": "v1\\x",
    "steps with backslashes": "..\\..\\secret",
    "an escaped backslash": "v1%5c..%5c..",
    "a backslash escaped twice": "v1%255cx",
    "a fragment": "v1/x#y",
    "a fragment in the query": "v1/x?a#b",
    "a NUL": "v1/\0x",
    "a line end": "v1/x HTTP/1.1\r\nX-Evil: 1",
    "a LF": "v1/\nx",
    "a tab": "v1/\tx",
    "a DEL": "v1/\x7fx",
    "an escaped NUL": "v1/%00x",
    "an escaped line end": "v1/%0d%0ax",
    "a line end escaped twice": "v1/%250d%250ax",
    "a line end in the query": "v1/x?a=\r\nX-Evil: 1",
    "half an escape": "v1/%zz",
    "a percent sign at the end": "v1/100%",
    "half an escape in the query": "v1/x?a=%",
    "half a character": "v1/\ud800",
    "half a character in the query": "v1/x?a=\udfff",
}


@pytest.mark.parametrize("path", LEAVING.values(), ids=LEAVING)
def test_a_path_that_could_leave_is_refused_before_any_io(world: World, path: str) -> None:
    transport = MockTransport([])
    client = world.client("http://localhost:3001", transport=transport)
    for call in (client.proxy, client.send, client.stream):
        with pytest.raises(oo.ProxyError) as caught:
            call(path, TOKEN)
        assert caught.value.reason == "argument"
        assert not caught.value.retryable
    assert transport.requests == []


@pytest.mark.parametrize("path", [None, 5, b"v1/x", ["v1/x"]])
def test_a_path_that_is_no_string_is_refused_before_any_io(world: World, path: Any) -> None:
    transport = MockTransport([])
    client = world.client("http://localhost:3001", transport=transport)
    with pytest.raises(oo.ProxyError, match="the path must be a string") as caught:
        client.proxy(path, TOKEN)
    assert caught.value.reason == "argument"
    assert transport.requests == []


TARGETS = {
    "v1/models?limit=5": "v1/models?limit=5",
    "/v1/models": "v1/models",
    "": "",
    "?a=b": "?a=b",
    "v1//x/": "v1//x/",
    "v1/a b": "v1/a%20b",
    "v1/\u00fc/\U0001f600?q=\u00df e": "v1/%C3%BC/%F0%9F%98%80?q=%C3%9F%20e",
    "v1/caf%e9%2fx": "v1/caf%E9%2Fx",
    "v1/%41": "v1/%41",
    "v1/100%25": "v1/100%25",
    "v1/x?path=../../a/./b&url=http://other.test//": "v1/x?path=../../a/./b&url=http://other.test//",
    "v1/x?a=%2e%2e%5c\\": "v1/x?a=%2E%2E%5C%5C",
    "v1/x?a?b=c": "v1/x?a?b=c",
    "v1/x?filter[a]=b|c&d={}": "v1/x?filter%5Ba%5D=b%7Cc&d=%7B%7D",
    "v1/-._~!$&'()*+,;=:@": "v1/-._~!$&'()*+,;=:@",
    "v1/...a/.well-known/a..b/x.": "v1/...a/.well-known/a..b/x.",
    "v1/models/gemini:generate": "v1/models/gemini:generate",
    "/videos%3aannotate": "videos%3Aannotate",
    "v1/{id}/[x]": "v1/%7Bid%7D/%5Bx%5D",
    "v1/\x85\u2028": "v1/%C2%85%E2%80%A8",
}


@contextmanager
def both(url: str) -> Iterator[list[Any]]:
    """A client of either world."""
    worlds = [World("blocking"), World("asyncio")]
    try:
        yield [world.client(url, timeout=PATIENCE) for world in worlds]
    finally:
        for world in worlds:
            world.close()


def seen(server: FaultServer, client: Any, path: str) -> str | None:
    """The request line that came, None where the path was refused."""
    count = len(server.requests)
    try:
        client.send(path, TOKEN, "GET")
        return server.requests[-1].split(b"\r\n")[0].decode("ascii")
    except oo.ProxyError as error:
        reason = error.reason
    assert (reason, len(server.requests)) == ("argument", count)
    return None


@pytest.mark.parametrize("base", ["", "/base", "/a//b", "/%e4[x]{y}"])
def test_a_path_comes_to_the_server_as_it_is_meant(base: str) -> None:
    with serving() as server, both(server.url + base) as clients:
        prefix = urlsplit(base_url(server.url + base)).path + HOME
        for path, target in TARGETS.items():
            line = f"GET {prefix}{target} HTTP/1.1"
            assert [seen(server, client, path) for client in clients] == [line] * 2, path


PIECES = [
    *r"a v1 . .. ... / // \ ; ;x ? # : http: http:// @ [ ] { } | ^ ` < > ' & = + , ! * ~".split(),
    *"% %zz %2e %2E %252e %25252E %2f %2F %5c %00 %0d%0a %3f %23 %3b %20 %25 %32 %65 %c0%ae %e4".split(),
    *"localhost .localhost 80 %E4".split(),
    *('"', " ", "\0", "\t", "\r\n", "\n", "\x7f", "\x85", "\u00fc", "\u2028", "\uff0e", "\ud800"),
]
PATHS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


def readings(path: str) -> Iterator[str]:
    """A path as any server might read it: unescaped any number of times, cut, its backslashes turned."""
    while True:
        yield path
        yield path.replace("\\", "/")
        yield re.sub(r"[;?#][^/]*", "", path)
        yield "/".join(segment.strip() for segment in path.split("/"))
        if (plain := unquote(path, errors="replace")) == path:
            return
        path = plain


def assert_stays(target: str) -> None:
    assert re.fullmatch("[!-~]*", target)
    url, place = "http://localhost:3001" + target, target.partition("?")[0]
    for reading in readings(place):
        assert f"{normpath(reading)}/".startswith(HOME), reading
    assert urlsplit(urljoin("http://localhost:3001/x/y", url)).path.startswith(HOME)
    assert urlsplit(urljoin("http://localhost:3001/x/y", target)).path.startswith(HOME)
    assert URL(url).raw_path.startswith(HOME)
    assert (parse_url(url).path or "").startswith(HOME)
    assert str(requests.Request("GET", url).prepare().path_url).startswith(HOME)


@EXAMPLES
@given(PATHS)
def test_no_text_leaves(path: str) -> None:
    try:
        place = proxied(path)
    except ValueError:
        return
    assert_stays(HOME + place)
    assert_stays(HOME + sent(path))


@EXAMPLES
@given(PATHS)
def test_what_is_sent_means_what_was_written(path: str) -> None:
    try:
        place = sent(path)
    except ValueError:
        return
    assert unquote(place) == unquote(path.removeprefix("/"))


def test_the_wire_carries_the_same_target_in_both_worlds() -> None:
    with serving() as server, both(server.url) as clients:

        @EXAMPLES
        @given(PATHS)
        def same(path: str) -> None:
            one, two = (seen(server, client, path) for client in clients)
            assert one == two
            if one is not None:
                method, target, version = one.split(" ")
                assert (method, version) == ("GET", "HTTP/1.1")
                assert_stays(target)

        same()


@EXAMPLES
@given(
    st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: "http://" + "".join(pieces)))
)
@example("HTTP://0.LOCALHOST")
@example("http://localhost.")
def test_every_library_reads_the_same_server_in_a_base_url(text: str) -> None:
    try:
        url = base_url(text)
    except ValueError:
        return
    assert base_url(url) == url
    parts, yarl, urllib3 = urlsplit(url), URL(url + "/health", encoded=True), parse_url(url + "/health")
    host = (parts.hostname or "").replace("%25", "%")
    assert host == (yarl.raw_host or "").lower() == (urllib3.host or "").strip("[]").lower()
    default = 443 if parts.scheme == "https" else 80
    assert parts.port or default == yarl.port == (urllib3.port or default)
    assert parts.scheme == yarl.scheme == urllib3.scheme
    assert parts.path + "/health" == yarl.raw_path
    assert is_loopback(url) == (host.rstrip(".") in ("localhost", "127.0.0.1", "::1"))


@pytest.mark.parametrize(
    ("host", "loopback", "below_localhost"),
    [
        ("localhost", True, False),
        ("LOCALHOST.", True, False),
        ("127.0.0.1", True, False),
        ("127.255.1.2", True, False),
        ("127.1", True, False),
        ("0x7f.1", True, False),
        ("[::1]", True, False),
        ("[::ffff:127.0.0.1]", True, False),
        ("gate.localhost", False, True),
        ("a.b.localhost.", False, True),
        ("localhost.example", False, False),
        ("notlocalhost", False, False),
        ("10.0.0.1", False, False),
        ("[::]", False, False),
    ],
)
def test_this_machine_is_known_by_its_name_alone(host: str, loopback: bool, below_localhost: bool) -> None:
    url = f"http://{host}:3001"
    assert is_loopback(url) is loopback
    assert is_localhost_name(urlsplit(url).hostname or "") is below_localhost


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http+unix://%2Frun%2Foo.sock", "http+unix://%2Frun%2Foo.sock"),
        ("http+unix://%2frun%2foo.sock/", "http+unix://%2Frun%2Foo.sock"),
        ("http+unix://%2Frun%2FOo%20x.sock/prefix/", "http+unix://%2Frun%2FOo%20x.sock/prefix"),
    ],
)
def test_a_unix_sockets_url_is_taken(url: str, kept: str) -> None:
    assert base_url(url) == kept
    assert is_loopback(kept)


@pytest.mark.parametrize(
    "url",
    [
        "http+unix://",
        "http+unix:///run/oo.sock",
        "http+unix://run%2Foo.sock",
        "http+unix://%2Frun%00",
        "http+unix://%2F" + "x" * 120,
        "http+unix://%2Fa%zz",
        "http+unix://user@%2Fa",
        "http+unix://%2Fa?x=1",
        "http+unix://%2Fa#x",
        "http+unix://%2Fa/b//c",
        "https+unix://%2Fa",
    ],
)
def test_a_unix_sockets_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        base_url(url)
