"""`oo token`: a token is printed, or it opens nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime

import pytest

from oo.gateway.tokens import is_token
from tests.support.command import Inside, listed, refused
from tests.support.terminal import Terminal
from tests.support.waiting import PATIENCE


def test_the_id_is_said_beside_the_token(full: Inside) -> None:
    result = full("token", "issue", "--secret", "key")
    [row] = listed(full("token", "list", "--json"))
    assert result.stderr == f"oo: its id is {row['id']}\n"
    result = full("token", "issue", "--secret", "key", "--json")
    made = json.loads(result.stdout)
    assert result.stderr == ""
    assert made.keys() == {"id", "token"}
    assert made["id"] == listed(full("token", "list", "--json"))[1]["id"]


@pytest.mark.parametrize("output", ["closed", "full", "left"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_token_that_nobody_has_opens_nothing(output: str, form: tuple[str, ...], full: Inside) -> None:
    command = [sys.executable, "-m", "oo", "token", "issue", "--secret", "key", *form]
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as device:
        given = {"closed": None, "full": device, "left": writing}[output]
        shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if output == "closed" else []
        done = subprocess.run([*shell, *command], stdout=given, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    os.close(writing)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not [row for row in listed(full("token", "list", "--json")) if row["state"] == "open"]


def test_a_list_has_filters(full: Inside) -> None:
    issued = [
        json.loads(full("token", "issue", "--json", *options).stdout)["id"]
        for options in (("--secret", "key", "--label", "The Build"), ("--env", "web"), ("--route", "api"))
    ]
    full("token", "revoke", issued[1])

    def found(*options: str) -> list[str]:
        return [row["id"] for row in listed(full("token", "list", "--json", *options))]

    assert found() == issued
    assert found("--secret", "key", "--route", "api") == [issued[0], issued[2]]
    assert found("--state", "open") == [issued[0], issued[2]]
    assert found("--state", "open", "--state", "revoked", "--env", "web") == [issued[1]]
    assert found("--label", "build") == [issued[0]]
    assert full("token", "prune").stdout == "tokens forgotten: 1\n"
    assert found() == [issued[0], issued[2]]


def test_a_state_that_is_none_is_wrong_usage(full: Inside, inside: Inside) -> None:
    assert "--state" in refused(inside("token", "list", "--state", "lost"), 2)


def test_a_list_fits_80_columns_a_line_each(full: Inside) -> None:
    full("token", "issue", "--secret", "key", "--ttl", "7d", "--uses", "10", "--rate", "60/m", "--label", "the build")
    full("token", "issue", "--route", "api", "--label", "mine")
    with Terminal("token", "list", columns=80) as terminal:
        assert terminal.end() == 0
    lines = [line for line in terminal.shown.splitlines() if "secret key" in line or "route api" in line]
    assert len(lines) == 2
    for text in ("6d 23h", "0/10", "60/m", "the build"):
        assert text in lines[0]


def test_a_name_that_is_mistyped_is_answered_with_the_nearest(full: Inside, inside: Inside) -> None:
    for command, near in (
        (("token", "issue", "--secret", "kee"), "'key'"),
        (("token", "issue", "--route", "apii"), "'api'"),
        (("secret", "rm", "kex"), "'key'"),
        (("secret", "versions", "keyy"), "'key'"),
        (("secret", "show", "keyy"), "'key'"),
        (("secret", "rollback", "keyy"), "'key'"),
        (("env", "show", "webb"), "'web'"),
        (("env", "rm", "webb"), "'web'"),
        (("env", "set", "e", "A=@kee"), "'key'"),
        (("route", "update", "apy", "--timeout", "5"), "'api'"),
    ):
        assert f"did you mean {near}?" in refused(inside(*command)), command


@pytest.mark.parametrize(("typed", "near"), [(("secrt", "list"), "secret"), (("token", "isue"), "issue")])
def test_a_command_that_is_mistyped_is_answered_with_the_nearest(
    typed: tuple[str, ...], near: str, inside: Inside
) -> None:
    assert f"'{near}'" in refused(inside(*typed), 2)


@pytest.mark.parametrize("thing", [("--secret", "key"), ("--env", "web"), ("--route", "api")], ids=" ".join)
def test_issue_prints_the_token_and_nothing_else(thing: tuple[str, str], full: Inside) -> None:
    printed = full("token", "issue", *thing).stdout
    assert printed.endswith("\n")
    assert is_token(printed[:-1])


def test_a_token_list_says_everything_but_the_tokens(full: Inside) -> None:
    issued = [
        full("token", "issue", "--secret", "key", "--label", "for the build"),
        full("token", "issue", "--env", "web", "--ttl", "24h", "--uses", "3"),
        full("token", "issue", "--route", "api", "--rate", "60/m", "--concurrency", "4"),
    ]
    rows = listed(full("token", "list", "--json"))
    assert [row["concurrency"] for row in rows] == [None, None, 4]
    assert [(row["kind"], row["name"], row["used"], row["uses"], row["rate"], row["label"]) for row in rows] == [
        ("secret", "key", None, None, None, "for the build"),
        ("env", "web", 0, 3, None, ""),
        ("route", "api", 0, None, "60/m", ""),
    ]
    assert rows[0]["expires"] is None
    assert rows[1]["expires"] > rows[1]["issued"]
    for shown in (full("token", "list").stdout, full("token", "list", "--json").stdout):
        for each in issued:
            token = each.stdout.strip()
            assert not any(token[start : start + 12] in shown for start in range(3, len(token) - 12))


def test_a_revoked_token_is_told_from_an_open_one(full: Inside) -> None:
    for _ in range(2):
        full("token", "issue", "--secret", "key")
    first, second = (row["id"] for row in listed(full("token", "list", "--json")))
    assert full("token", "revoke", first).stdout == f"token {first} is revoked\n"
    assert {row["id"]: row["state"] for row in listed(full("token", "list", "--json"))} == {
        first: "revoked",
        second: "open",
    }


@pytest.mark.parametrize(("kind", "name"), [("env", "web"), ("route", "api")])
def test_rm_revokes_the_tokens(kind: str, name: str, full: Inside) -> None:
    full("token", "issue", f"--{kind}", name)
    full("token", "issue", "--secret", "key")
    full(kind, "rm", name)
    assert [row["state"] for row in listed(full("token", "list", "--json"))] == ["revoked", "open"]


def test_a_token_given_for_its_id_is_not_said_again(full: Inside, inside: Inside) -> None:
    token = full("token", "issue", "--secret", "key").stdout.strip()
    line = refused(inside("token", "revoke", token))
    assert "oo token list" in line
    assert token[3:] not in line


@pytest.mark.parametrize(
    "options",
    [
        *(
            (name, text)
            for name in ("--ttl",)
            for text in ("24", "h", "0s", "-1h", "1.5h", "24 h", "1w", "٣h", "9999999999d")
        ),
        *(
            (name, text)
            for name in ("--rate",)
            for text in ("60", "60/", "/m", "0/m", "-1/m", "60/w", "60/mm", "9999999999/s")
        ),
        *((name, text) for name in ("--uses",) for text in ("0", "-1", "x", "1.5", "99999999999999999999")),
    ],
    ids=" ".join,
)
def test_terms_that_are_none_are_wrong_usage(options: tuple[str, str], full: Inside, inside: Inside) -> None:
    assert options[0] in refused(inside("token", "issue", "--secret", "key", *options), 2)
    assert listed(full("token", "list", "--json")) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800), ("36500d", 3.1536e9)]
)
def test_a_ttl_is_counted_in_its_unit(text: str, seconds: float, full: Inside) -> None:
    full("token", "issue", "--secret", "key", "--ttl", text)
    [row] = listed(full("token", "list", "--json"))
    issued, expires = (datetime.fromisoformat(row[name]) for name in ("issued", "expires"))
    assert (expires - issued).total_seconds() == pytest.approx(seconds, abs=1)


def test_a_rate_is_shown_as_it_was_given(full: Inside) -> None:
    for rate in ("5/s", "60/m", "100/h", "1000/d"):
        full("token", "issue", "--secret", "key", "--rate", rate)
    assert [row["rate"] for row in listed(full("token", "list", "--json"))] == ["5/s", "60/m", "100/h", "1000/d"]


@pytest.mark.parametrize(
    "things",
    [(), ("--secret", "key", "--env", "web"), ("--secret", "key", "--env", "web", "--route", "api")],
    ids=" ".join,
)
def test_a_token_opens_exactly_one_thing(things: tuple[str, ...], full: Inside, inside: Inside) -> None:
    assert "one thing" in refused(inside("token", "issue", *things), 2)
