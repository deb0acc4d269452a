from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

import oo.testing
from tests.support.calls import unauthorized
from tests.support.upstream import OpenAI
from tests.support.waiting import PATIENCE


def ask(
    url: str, method: str, path: str, token: str | None = None, body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """Status, headers and body of one request, made by nobody's client in particular."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    connection.request(method, path, body, fields)
    response = connection.getresponse()
    read = response.read()
    connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, response.headers, json.loads(read) if is_json else read


def test_a_secret_is_answered_in_the_shape_of_the_wire(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.secret("a", "the value")
    status, headers, body = ask(gateway.url, "GET", "/api/secret", token)
    assert (status, body) == (200, {"value": "the value"})
    assert headers["Cache-Control"] == "no-store"


def test_an_environment_takes_literals_and_secrets(gateway: oo.testing.LocalGateway) -> None:
    from oo.gateway.models import SecretRef

    gateway.secret("a", "the value")
    token = gateway.environment("web", {"A": SecretRef("a"), "B": "plain"})
    assert ask(gateway.url, "GET", "/api/env", token)[2] == {"secrets": {"A": "the value", "B": "plain"}}


def test_health_tells_only_that_it_is_up(gateway: oo.testing.LocalGateway) -> None:
    status, headers, body = ask(gateway.url, "GET", "/health")
    assert (status, body) == (200, {"status": "ok"})
    assert headers["Server"] == "double-o"  # of no version, and of nothing beneath it


@pytest.mark.parametrize("path", ["/api/secret", "/api/env", "/api/proxy/v1/models"])
def test_whatever_is_wrong_with_a_token_the_401_is_the_same(gateway: oo.testing.LocalGateway, path: str) -> None:
    tokens = [gateway.secret("a", "value"), gateway.environment("e", {}), gateway.route("r", "http://127.0.0.1:9")]
    wrong = {"/api/secret": 1, "/api/env": 2, "/api/proxy/v1/models": 0}[path]
    bad = ["x", tokens[wrong][:-1] + "!", "oo_" + "A" * 49]
    answers = [ask(gateway.url, "GET", path, token)[::2] for token in bad]
    assert answers == [(401, unauthorized(path))] * len(bad)
    none = [ask(gateway.url, "GET", path, token)[::2] for token in (None, "")]
    assert none == [(401, none[0][1])] * 2
    assert "no token was sent" in str(none[0][1])


def test_the_upstream_sees_the_real_key_and_the_caller_never_does(
    gateway: oo.testing.LocalGateway, openai: OpenAI
) -> None:
    gateway.secret("key", "real-key-of-the-api")
    token = gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"})
    status, headers, body = ask(gateway.url, "POST", "/api/proxy/echo?q=1", token, b'{"a": 1}', X_Mine="yes")
    assert status == 200
    assert openai.keys == ["Bearer real-key-of-the-api"]
    assert openai.seen[0]["path"] == "/echo?q=1"
    assert openai.seen[0]["body"] == b'{"a": 1}'
    assert openai.seen[0]["headers"]["X-Mine"] == "yes"
    # The upstream echoes its headers; what comes back is masked.
    assert "real-key-of-the-api" not in json.dumps(body) + str(headers)
    assert ["Authorization", "Bearer ***"] in body["headers"]
    assert token not in json.dumps(body)


def test_hop_by_hop_and_identity_headers_stay_where_they_are(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    token = gateway.route("openai", openai.url)
    dropped = {"Connection": "x-hop", "X-Hop": "1", "Cookie": "a=b", "X-Api-Key": "k", "TE": "trailers"}
    ask(gateway.url, "GET", "/api/proxy/v1/models", token, **{k.replace("-", "_"): v for k, v in dropped.items()})
    seen = {name.lower() for name in openai.seen[0]["headers"]}
    assert not seen & {"x-hop", "cookie", "x-api-key", "te", "authorization"}


def test_an_upstreams_error_comes_back_as_it_is(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    token = gateway.route("openai", openai.url)
    status, _, body = ask(gateway.url, "GET", "/api/proxy/v1/nothing", token)
    assert status == 404
    assert body["error"]["type"] == "invalid_request_error"


def test_an_upstream_that_is_not_there_is_a_502(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.route("gone", "http://127.0.0.1:9")
    status, headers, body = ask(gateway.url, "GET", "/api/proxy/v1/models", token)
    assert status == 502
    assert (body["error"]["type"], body["error"]["code"]) == ("api_error", "upstream_failed")
    assert "gone" in body["error"]["message"]
    assert len(headers["X-Request-Id"]) == 32


def test_a_path_that_would_leave_the_route_is_a_400(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    token = gateway.route("openai", openai.url)
    for path in ("../secret", "%2e%2e/secret", "v1/..%2f..", "v1\\x", "//evil.example/", "http://evil.example/"):
        assert ask(gateway.url, "GET", f"/api/proxy/{path}", token)[0] == 400, path
    assert openai.seen == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/api/secret"), ("GET", "/api/secret/x"), ("DELETE", "/health")]
)
def test_there_is_nothing_else(gateway: oo.testing.LocalGateway, method: str, path: str) -> None:
    assert ask(gateway.url, method, path)[0] == 404
