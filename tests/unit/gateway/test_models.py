from __future__ import annotations

from typing import Any

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Kind, Route, Token, check_name


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
        ({"timeout": 0.0}, "the timeout must be more than 0"),
        ({"timeout": 3601.0}, "the timeout must be more than 0"),
        ({"timeout": float("nan")}, "the timeout must be more than 0"),
    ],
)
def test_a_route_that_cannot_be_is_refused(field: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Route(**{"name": "r", "upstream": "http://x", **field})


def test_a_route_tells_what_it_injects_and_which_secrets_it_needs() -> None:
    route = Route(
        *("r", "http://x/{six}", {"A": "Basic {one}:{two}", "B": "{{one}"}),
        query={"q": "{three}"},
        basic="u:{four}",
        credentials=("jwt key={five}",),
        key="{seven}",
    )
    assert route.texts == (
        *("header A: Basic {one}:{two}", "header B: {{one}", "query q={three}", "basic u:{four}", "jwt key={five}"),
        "path http://x/{six}",
    )
    assert route.secrets == {"one", "two", "three", "four", "five", "six", "seven"}
    assert (Route("r", "http://x").texts, Route("r", "http://x").secrets) == ((), set())


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
