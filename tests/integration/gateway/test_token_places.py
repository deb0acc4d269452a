"""Wherever a caller puts its token, it is the same call, and the token goes no further."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest

import oo.testing
from oo.gateway.app import Gateway
from oo.gateway.audit_log import AUDIT_FILE, AuditSettings
from oo.testing import BackgroundLoop
from tests.integration.gateway.test_gateway import ask
from tests.support.wire import Recorder, recording

KEY = "the-real-key-of-the-api"


def places(token: str) -> list[tuple[str, dict[str, str]]]:
    """The query and the headers of a call with that token, a pair for each place."""

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    signed = f"AWS4-HMAC-SHA256 Credential={token}/20260101/x/s3/aws4_request, SignedHeaders=host, Signature=00"
    schemes = (f"Bearer {token}", f"token {token}", basic(f"any:{token}"), basic(f"{token}:"), signed)
    names = ("X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Private-Token")
    headers = [*[{"Authorization": each} for each in schemes], *[{name: token} for name in names]]
    return [*[("?a=1", each) for each in headers], (f"?key={token}&a=1", {}), (f"?a=1&key={token}", {})]


PLACES = len(places(""))


class Site:
    """A gateway with an audit, before an upstream that echoes what it gets."""

    def __init__(self, home: Path, gateway: oo.testing.LocalGateway, url: str, upstream: Recorder) -> None:
        self.home = home
        self.url = url
        self.upstream = upstream
        gateway.secret("key", KEY)
        self.token = gateway.route("api", f"{upstream.url}/base", {"X-Real-Key": "{key}"}, allow=("* /v1/*",))

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, Any]:
        status, fields, read = ask(self.url, method, path, None, body, **headers)
        assert self.token not in str(fields)
        assert self.token not in str(read)
        return status, read

    @property
    def audit(self) -> str:
        return (self.home / AUDIT_FILE).read_text()


@pytest.fixture
def site(tmp_path: Path, gateway: oo.testing.LocalGateway) -> Any:
    audit = AuditSettings().open(tmp_path)
    with recording() as upstream, BackgroundLoop() as background:
        yield Site(tmp_path, gateway, background.enter(Gateway(gateway.vault, audit=audit)).url, upstream)
    audit.close()


def test_a_repeat_with_the_token_in_another_place_is_the_same_call(site: Site) -> None:
    made = [
        site.ask("POST", f"/api/proxy/v1/x{query}", {**headers, "Idempotency-Key": "k"}, b"{}")
        for query, headers in places(site.token)
    ]
    assert made == [made[0]] * PLACES
    assert made[0][0] == 200
    (seen,) = site.upstream.take()
    assert (seen.target, seen.get("X-Real-Key")) == ("/base/v1/x?a=1", [KEY])
    assert site.token not in str(seen)


@pytest.mark.parametrize("place", range(PLACES))
def test_the_token_is_in_nothing_that_is_left_behind(site: Site, place: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    query, headers = places(site.token)[place]
    in_url = "key=" in query
    asked = {
        f"/api/proxy/v1/x{query}": 200,
        f"/api/proxy/other{query}": 403,
        f"/api/proxy/v1/../x{query}": 400,
        f"/api/secret{query}": 401,
        f"/elsewhere{query}": 404,
    }
    assert {path: site.ask("GET", path, headers)[0] for path in asked} == asked
    (seen,) = site.upstream.take()
    plain = {name.lower().replace("_", "-") for name, _ in seen.fields}
    assert not plain & {"authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token"}
    assert site.token not in str(seen) + site.audit + caplog.text
    # In the URL it opens routes alone.
    assert site.audit.count("wrong kind") == (0 if in_url else 1)


def test_in_two_places_it_is_refused_and_not_repeated(site: Site) -> None:
    for query, headers in places(site.token)[5:]:
        status, body = site.ask("GET", f"/api/proxy/v1/x{query}", {**headers, "Authorization": f"Bearer {site.token}"})
        assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert (site.upstream.take(), site.token in site.audit) == ([], False)


@pytest.mark.parametrize("name", ["X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Private-Token"])
def test_another_value_in_such_a_header_is_dropped_and_another_key_in_the_query_passes(site: Site, name: str) -> None:
    headers = {"Authorization": f"Bearer {site.token}", name: "of-somebody-else"}
    assert site.ask("GET", "/api/proxy/v1/x?key=of-the-api", headers)[0] == 200
    (seen,) = site.upstream.take()
    assert seen.target == "/base/v1/x?key=of-the-api"
    assert "of-somebody-else" not in str(seen)
