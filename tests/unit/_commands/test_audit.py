from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import Result

from tests.support.command import Inside, refused
from tests.support.terminal import Terminal


def test_an_audit_that_is_not_there_is_said(vault: Inside, inside: Inside, home: Path) -> None:
    for options, path in (((), home / "audit.jsonl"), (("--file", "/none/audit"), "/none/audit")):
        assert said(inside("audit", *options)) == f"oo: there is no audit at {path}\n"


def test_audit_prints_the_lines_there_are(vault: Inside, home: Path) -> None:
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


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--outcome", "alowed"], " --outcome 'alowed'; did you mean 'allowed'"),
        (["--outcome", "zzz"], " --outcome 'zzz'; known are allowed, audit failed, "),
        (["--route", "ap", "--token", "nobody"], " --token 'nobody'; known are id, the label\n"),
        (["--route", "ap"], " --route 'ap'; did you mean 'api'?"),
        (["--token", f"oo_{'a' * 49}"], " --token 'oo_***'; known are "),
        (["--outcome", "cut"], "\n"),
        (["--token", "id", "--route", "other"], "\n"),
        (["--since", "1h"], "\n"),
    ],
)
def test_what_matches_nothing_is_said_beside_the_output(
    vault: Inside, inside: Inside, home: Path, options: list[str], why: str
) -> None:
    lines = [
        line(token_id="id", label="the label", outcome="allowed"),
        line(kind="secret", target="zzz", outcome="allowed"),
        line(target="other", outcome="allowed"),
    ]
    (home / "audit.jsonl").write_text("\n".join(lines) + "\n")
    assert f"oo: no call matches{why}" in said(inside("audit", *options))


def test_a_mistyped_outcome_is_said_before_others_are_waited_for(vault: Inside, home: Path) -> None:
    (home / "audit.jsonl").write_text(line(outcome="allowed") + "\n")
    with Terminal("audit", "--follow", "--outcome", "alowed") as terminal:
        terminal.until("did you mean 'allowed'")


def said(result: Result) -> str:
    """What stands on standard error of a command that ended well and printed nothing."""
    assert (result.exit_code, result.stdout) == (0, "")
    return result.stderr


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
