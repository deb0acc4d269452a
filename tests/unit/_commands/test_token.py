"""`oo token`: a token is printed, or it opens nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.command import Inside, listed, refused
from tests.support.terminal import Terminal

CANARY = "sk-canary-0123456789"


@pytest.fixture
def full(vault: Inside) -> Inside:
    """A vault with one thing of each kind."""
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault("env", "set", "web", "KEY=@key")
    vault("route", "set", "api", "--upstream", "https://example.com", "--inject", "Authorization: Bearer {key}")
    return vault


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
        done = subprocess.run([*shell, *command], stdout=given, stderr=subprocess.PIPE, text=True, timeout=30)
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
