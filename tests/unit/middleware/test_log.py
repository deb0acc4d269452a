from __future__ import annotations

import logging
import re

import pytest

import oo
from oo.testing import MockTransport
from tests.support.worlds import World

TOKEN = "a-token-for-logs"


def test_one_line_a_call_and_at_debug_one_an_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    transport = MockTransport([503, {"value": "the-secret-value"}], io=world.clock())
    client = world.client("http://localhost:3001", retries=1, logging=True, transport=transport, cache=oo.SecretCache())
    with caplog.at_level(logging.INFO, logger="oo"):
        for _ in range(2):
            client.get_secret(TOKEN, cache_ttl=60)
    assert [re.sub(r"[\d.]+ ms", "N ms", record.getMessage()) for record in caplog.records] == [
        "secret /api/secret 200 N ms attempts=2 miss",
        "secret /api/secret 200 N ms attempts=0 hit",
    ]
    caplog.clear()
    transport = MockTransport([503, {"a": "secret-value"}, {"value": "secret-value"}], io=world.clock())
    client = world.client("http://localhost:3001", retries=1, logging=True, transport=transport)
    with caplog.at_level(logging.DEBUG, logger="oo"):
        client.proxy("v1/x?key=the-query", TOKEN, payload={"a": "the-body"})
        client.get_secret(TOKEN)
    assert sum(" attempt at " in line for line in caplog.messages) == 3
    assert not re.search("token-for|secret-value|the-query|the-body", caplog.text)


def test_a_failure_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client = world.client("http://localhost:3001", logging=True, transport=MockTransport([404]))
    with caplog.at_level(logging.INFO, logger="oo"), pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)
    assert [(record.levelname, record.name) for record in caplog.records] == [("WARNING", "oo")]
    assert " 404 " in caplog.text


def test_nothing_is_logged_unless_asked_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client = world.client("http://localhost:3001", transport=MockTransport([{"value": "v"}]))
    with caplog.at_level(logging.DEBUG, logger="oo"):
        client.get_secret(TOKEN)
    assert caplog.records == []
