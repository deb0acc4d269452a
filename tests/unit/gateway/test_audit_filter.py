from __future__ import annotations

import pytest

from oo.gateway.audit_filter import AuditFilter, instant
from oo.gateway.errors import StoreError

NOW = 1_770_000_000.0  # 2026-02-02T02:40:00Z


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-02-02T02:38:30.000+00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000+00:00"),
    ],
)
def test_an_instant_is_written_as_the_lines_have_it(text: str, moment: str) -> None:
    assert instant(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "90", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="is neither"):
        instant(text, NOW)


def test_what_is_no_object_is_no_line() -> None:
    assert list(AuditFilter().lines(["[1]", "nonsense", '{"a": 1}'])) == [('{"a": 1}', {"a": 1})]


def test_a_route_of_that_name_is_no_secret_of_it() -> None:
    wanted = AuditFilter(route="a")
    assert wanted.has({"kind": "route", "target": "a"})
    assert not wanted.has({"kind": "secret", "target": "a"})


def test_a_line_without_a_time_is_older_than_any() -> None:
    assert not AuditFilter(since=instant("1s", NOW)).has({"time": None})
