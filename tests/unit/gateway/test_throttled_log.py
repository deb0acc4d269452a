from __future__ import annotations

import pytest

from oo.gateway import throttled_log
from oo.gateway.throttled_log import ThrottledLog


def test_each_message_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(throttled_log.time, "monotonic", lambda: now)
    log = ThrottledLog()
    for at, what in ((0, "one"), (1, "one"), (2, "100 % other"), (59.9, "one"), (60, "one"), (61, "100 % other")):
        now = 1000.0 + at
        log.say(what)
    assert [record.getMessage() for record in caplog.records] == ["one", "100 % other", "one"]
    assert {(record.name, record.levelname) for record in caplog.records} == {("oo.gateway", "ERROR")}


def test_two_logs_count_apart(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        ThrottledLog().say("the same")
    assert len(caplog.records) == 2
