from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Kind, Route, Token, Upstream, check_name


def token(**terms: Any) -> Token:
    defaults: dict[str, Any] = {"expires": None, "uses": None, "rate": None, "revoked": None}
    return Token("id", "secret", "a", label="", issued=0.0, hash="00", **{**defaults, **terms})


@pytest.mark.parametrize(
    ("terms", "kind", "outcome"),
    [
        ({}, "secret", Grant("id", "secret", "a", counted=False)),
        ({}, "env", Denial("wrong kind", "id", opens="secret")),
        ({"expires": 100.5}, "secret", Grant("id", "secret", "a", counted=False)),
        ({"expires": 100.0}, "secret", Denial("expired", "id")),
        ({"revoked": 1.0}, "secret", Denial("revoked", "id")),
        ({"revoked": 1.0, "expires": 1.0}, "env", Denial("revoked", "id")),
        ({"uses": 0}, "secret", Grant("id", "secret", "a", counted=True)),
    ],
)
def test_a_token_opens_its_own_kind_until_it_ends(terms: dict[str, Any], kind: Kind, outcome: Grant | Denial) -> None:
    assert token(**terms).opens(kind, 100.0) == outcome


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-D", "a" * 128])
def test_a_name_passes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "é", "a" * 129, "a\n", "{a}", None, 7])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(StoreError, match="is no name"):
        check_name(name)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"name": "a/b"}, "is no name"),
        ({"upstream": "ftp://x"}, "upstream"),
        ({"upstream": "x"}, "upstream"),
        ({"inject": {"X Y": "v"}}, "'X Y' is no header that can be injected"),
        ({"inject": {"X": "a\nb"}}, "'X' is no header that can be injected"),
        ({"inject": {"X": ""}}, "'X' is no header that can be injected"),
        ({"allow": ("get /x",)}, "'get /x' is no pattern"),
        ({"allow": ("GET x",)}, "'GET x' is no pattern"),
        ({"allow": ("/x",)}, "'/x' is no pattern"),
        ({"pass_headers": ("X Y",)}, "'X Y' is no name of a header"),
        ({"drop_headers": ("X:",)}, "'X:' is no name of a header"),
        ({"others": (Upstream("ftp://b"),)}, "upstream"),
        ({"others": (Upstream("http://x/"),)}, "named twice"),
        ({"weight": 0}, "the weight of an upstream"),
        ({"others": (Upstream("http://b", 1001),)}, "the weight of an upstream"),
        ({"retries": -1}, "from 0 to 10 retries"),
        ({"retries": 11}, "from 0 to 10 retries"),
        *(
            ({"cors": (origin,)}, "is no origin")
            for origin in (
                *("", "app.example", "https://App.example", "https://app.example/", "https://app.example:443", "null"),
                *("http://app.example:80", "https://a@app.example", "https://*.app.example", "https://a,https://b"),
            )
        ),
        ({"timeout": 0.0}, "the timeout must be more than 0"),
        ({"timeout": 3601.0}, "the timeout must be more than 0"),
        ({"timeout": float("nan")}, "the timeout must be more than 0"),
    ],
)
def test_a_route_that_cannot_be_is_refused(field: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Route(**{"name": "r", "upstream": "http://x", **field})


@pytest.mark.parametrize(
    "origin",
    ["*", "https://app.example", "http://localhost:3000", "http://[::1]:8080", "tauri://localhost", "http://x:443"],
)
def test_an_origin_is_named_as_browsers_send_it(origin: str) -> None:
    assert Route("r", "http://x", cors=(origin,)).cors == (origin,)


FULL = Route(
    "r",
    "https://a.example",
    {"X": "{key}"},
    ("GET /v1/*",),
    pass_headers=("Range",),
    drop_headers=("X-Mine",),
    weight=2,
    others=(Upstream("https://b.example", 3), Upstream("https://c.example")),
    retries=1,
    cors=("https://app.example",),
)


def test_a_route_is_read_as_it_was_stored() -> None:
    assert Route.of(json.loads(json.dumps(asdict(FULL)))) == FULL


def test_a_route_of_an_earlier_version_is_read() -> None:
    stored = {"name": "r", "upstream": "https://a.example", "inject": {}, "allow": ["GET /x"], "timeout": 5.0}
    assert Route.of(stored) == Route("r", "https://a.example", allow=("GET /x",), timeout=5.0)


def test_the_upstreams_of_a_route_are_the_first_and_the_others() -> None:
    assert list(map(str, FULL.upstreams)) == [
        "https://a.example weight=2",
        "https://b.example weight=3",
        "https://c.example",
    ]


def test_a_route_puts_values_into_its_texts() -> None:
    route = Route("r", "http://x", {"A": "Basic {one}:{two}", "B": "{one}", "C": "plain {not a name}"})
    assert route.secrets == {"one", "two"}
    assert route.headers({"one": "{two}", "two": "2"}) == {
        "A": "Basic {two}:2",
        "B": "{two}",
        "C": "plain {not a name}",
    }


@pytest.mark.parametrize(
    ("allow", "method", "path", "allowed"),
    [
        ((), "DELETE", "any/thing", True),
        (("POST /v1/*",), "POST", "v1/chat", True),
        (("POST /v1/*",), "GET", "v1/chat", False),
        (("* /v1/*",), "PATCH", "v1/a/b", True),
        (("GET /a", "POST /b"), "POST", "b", True),
        (("GET /a", "POST /b"), "POST", "a", False),
        (("GET /v1/*",), "GET", "%76%31/models", False),
        (("GET /v1/*",), "GET", "v1/a%2Fb", True),
        (("GET /v1/models",), "GET", "v1/%6Dodels", False),
        (("GET /V1/*",), "GET", "v1/x", False),
    ],
)
def test_a_route_allows_what_fits_as_written_and_as_meant(
    allow: tuple[str, ...], method: str, path: str, allowed: bool
) -> None:
    assert Route("r", "http://x", allow=allow).allows(method, path) is allowed
