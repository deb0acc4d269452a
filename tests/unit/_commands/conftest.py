"""What several commands are tried on."""

from __future__ import annotations

import pytest

import oo.testing
from tests.support.command import CANARY, Inside
from tests.support.upstream import OpenAI


@pytest.fixture
def full(vault: Inside) -> Inside:
    """A vault with one thing of each kind."""
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault("env", "set", "web", "KEY=@key", f"LITERAL={CANARY}")
    vault("route", "set", "api", "--upstream", "https://example.com", "--inject", "Authorization: Bearer {key}")
    return vault


@pytest.fixture
def gateway(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> oo.testing.LocalGateway:
    """A gateway that every command finds."""
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    return gateway


@pytest.fixture
def secret(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """OO_TOKEN opens a secret."""
    token = gateway.secret("key", CANARY)
    monkeypatch.setenv("OO_TOKEN", token)
    return token


@pytest.fixture
def token(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """OO_TOKEN opens a route to https://api.test."""
    token = gateway.route("api", "https://api.test")
    monkeypatch.setenv("OO_TOKEN", token)
    return token


@pytest.fixture
def api(gateway: oo.testing.LocalGateway, openai: OpenAI, monkeypatch: pytest.MonkeyPatch) -> OpenAI:
    """OO_TOKEN opens a route to this API."""
    gateway.secret("key", CANARY)
    monkeypatch.setenv("OO_TOKEN", gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"}))
    return openai
