"""What the gateway makes of a forward proxy's request, whatever its target and its credential: no tunnel is opened and
no call made but with the token, to the host, port and path of its route.

An input is `c` or `g` (a CONNECT, a GET), a credential, a NUL, and a target.
"""

from __future__ import annotations

import base64
import re

from oo._http.headers import Headers
from oo.gateway.destinations import (
    MOST_TOKENS,
    Destination,
    absolute_form,
    authority_of,
    base_in,
    tokens_of,
    upstream_at,
)
from tests.fuzz import requests
from tests.fuzz.requests import BASE, ROUTE, TOKEN

_PASSWORD = base64.b64encode(f"oo:{TOKEN}".encode())


def one(data: bytes) -> None:
    """Read one input; AssertionError, or whatever escapes, is a finding."""
    kind, rest = data[:1], data[1:]
    credential, _, target = rest.partition(b"\0")
    _pure(credential.decode("latin-1"), target.decode("latin-1"))
    if kind in (b"c", b"g") and not re.search(rb"[\r\n]", rest):
        method = b"CONNECT" if kind == b"c" else b"GET"
        fields = b"Host: x\r\nProxy-Authorization: " + credential
        calls, written = requests.answer_of(method + b" " + target + b" HTTP/1.1\r\n" + fields + b"\r\n\r\n")
        # The route's upstream is plain http, which no tunnel leads to.
        assert kind == b"g" or not re.match(rb"HTTP/1\.[01] 2", written), written[:80]
        if calls:
            assert kind == b"g"
            assert TOKEN in tokens_of(credential.decode("latin-1").strip()) or target.startswith(b"/"), calls
            assert not any("proxy-authorization" in Headers(call.headers.pairs()) for call in calls)


def _pure(credential: str, target: str) -> None:
    tokens = tokens_of(credential)
    assert len(tokens) <= MOST_TOKENS
    assert all(token and token == token.strip() and "," not in token for token in tokens)
    place = authority_of(target)
    if place is not None:
        assert re.fullmatch(r"[0-9a-z._:-]+", place[0]), place
        to = Destination("https", *place, tokens)
        assert authority_of(str(to)) == place
        assert TOKEN not in repr(to) or TOKEN in place[0]  # a host may be named so
    absolute = absolute_form(target)
    if absolute is not None:
        scheme, host, port, path = absolute
        assert path.startswith("/")
        upstream = upstream_at(ROUTE, Destination(scheme, host, port, ()))
        assert (upstream is None) is ((scheme, host, port) != ("http", "upstream.test", 80))
        if upstream is not None and base_in(upstream, path) is not None:
            assert f"http://upstream.test{path}".startswith(BASE)


WORDS = (
    b"Basic ",
    b"Bearer ",
    _PASSWORD,
    TOKEN.encode(),
    b"upstream.test",
    b":443",
    b":80",
    b"http://",
    b"[::1]",
    b"@",
)
SEEDS = (
    b"cBasic " + _PASSWORD + b"\0upstream.test:443",
    b"cBearer " + TOKEN.encode() + b"\0UPSTREAM.test.:80",
    b"cBasic b286\0[::1]:443",
    b"c\0169.254.169.254:80",
    b"cBearer a,b,,c\0user:pw@upstream.test:443",
    b"cBasic !\0https://upstream.test/",
    b"gBearer " + TOKEN.encode() + b"\0http://upstream.test/base/v1/models?x=y",
    b"gBasic " + _PASSWORD + b"\0http://upstream.test:80/base/v1/a%2Fb",
    b"gBearer " + TOKEN.encode() + b"\0http://upstream.test/base/../v1/",
    b"gBearer " + TOKEN.encode() + b"\0https://upstream.test/base/v1/",
    b"gBearer " + TOKEN.encode() + b"\0http://upstream.test@other.test/base/v1/x",
    b"gBearer x\0http://upstream.test/base/v1/models",
    b"gBearer " + TOKEN.encode() + b"\0/api/proxy/v1/models",
)
