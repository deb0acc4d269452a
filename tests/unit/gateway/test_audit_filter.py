from __future__ import annotations

import ast
from pathlib import Path

import pytest

import oo.gateway
from oo.gateway.audit_filter import OUTCOMES, AuditFilter, instant
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


def test_the_words_of_outcomes_are_all_that_the_gateway_says() -> None:
    said = set[str]()
    for path in Path(oo.gateway.__file__).parent.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            place = {"GatewayError": 2, "Unauthorized": 0, "Denial": 0}.get(getattr(call.func, "id", ""), 99)
            said |= {word.value for word in call.args[place : place + 1] if isinstance(word, ast.Constant)}
    assert len(said) > 15
    assert said <= set(OUTCOMES)


def test_an_outcome_that_no_word_is_for_is_said() -> None:
    assert AuditFilter(outcome="allowed").mistyped() == AuditFilter(route="none").mistyped() == []
    assert AuditFilter(outcome="reviked").mistyped() == ["no call matches --outcome 'reviked'; did you mean 'revoked'?"]


def test_of_what_is_known_some_is_said() -> None:
    lines = [f'{{"kind": "route", "target": "{number:02}"}}' for number in range(60)]
    (said,) = AuditFilter(route="nope").unmatched(lines)
    assert said.startswith("no call matches --route 'nope'; known are 00, 01, ")
    assert said.endswith(", ...")
    assert AuditFilter(route="nope").unmatched([]) == ["no call matches --route 'nope'; known are none"]
    assert AuditFilter(outcome="cut").unmatched(lines) == AuditFilter().unmatched([]) == ["no call matches"]
