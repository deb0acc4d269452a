"""A Unix socket's path as the host of an http URL."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest

from oo._http.urls import UNIX
from oo.transports.unix_sockets import as_http, socket_of


@pytest.mark.parametrize("path", ["/run/oo.sock", "/tmp/A b/\N{SNOWMAN}.sock", "/x!%2F.sock"])
def test_a_path_comes_out_as_it_went_in(path: str) -> None:
    url = as_http(f"{UNIX}{quote(path, safe='')}/api/proxy/v1?q=1")
    parts = urlsplit(url)
    assert (parts.scheme, parts.path, parts.query) == ("http", "/api/proxy/v1", "q=1")
    assert socket_of(parts.hostname or "") == path


def test_other_urls_and_hosts_are_left_alone() -> None:
    assert as_http("https://example.com/x") == "https://example.com/x"
    assert socket_of("example.com") is None
