from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.support.command import Inside, refused
from tests.support.terminal import Terminal


def test_audit_prints_the_lines_there_are(vault: Inside, home: Path) -> None:
    assert vault("audit").stdout == ""
    (home / "audit.jsonl").write_text('{"outcome": "allowed"}\n{"outcome": "revoked"}\n')
    assert vault("audit").stdout == '{"outcome": "allowed"}\n{"outcome": "revoked"}\n'


def line(**fields: object) -> str:
    return json.dumps({"event": "end", "kind": "route", "target": "api", **fields})


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], [0, 1, 2]),
        (["--since", "1h"], [1, 2]),
        (["--outcome", "allowed"], [0, 1]),
        (["--token", "id", "--json"], [1]),
        (["--token", "the label"], [0]),
        (["--route", "other"], [2]),
        (["--route", "api", "--since", "1h", "--outcome", "cut"], []),
    ],
)
def test_what_is_asked_for_is_printed(vault: Inside, home: Path, options: list[str], shown: list[int]) -> None:
    def at(ago: float) -> str:
        return datetime.fromtimestamp(time.time() - ago, timezone.utc).isoformat(timespec="milliseconds")

    lines = [
        line(time=at(7200), label="the label", outcome="allowed"),
        line(time=at(60), token_id="id", outcome="allowed"),
        line(time=at(30), target="other", outcome="cut"),
    ]
    (home / "audit.jsonl").write_text("\n".join(lines) + "\n")
    assert vault("audit", *options).stdout.splitlines() == [lines[number] for number in shown]


def test_a_time_that_is_none_is_said(vault: Inside, inside: Inside) -> None:
    assert "is neither a time ago such as 90m" in refused(inside("audit", "--since", "yesterday"), 2)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_person_gets_a_short_line_unless_json_is_asked_for(vault: Inside, home: Path, as_json: bool) -> None:
    known = {"time": "2026-01-31T12:00:00.000+00:00", "token_id": "id", "outcome": "allowed", "status": 200, "ms": 1.5}
    (home / "audit.jsonl").write_text(f"{line(**known)}\n{line(time=None)}\n")
    with Terminal("audit", *(["--json"] if as_json else []), columns=300) as terminal:
        assert terminal.end() == 0
    first, second = terminal.shown.splitlines()
    if as_json:
        assert json.loads(first)["token_id"] == "id"
    else:
        assert first.endswith(" end id api allowed 200 1.5")
        assert second == "1970-01-01 00:00:00 end api"
