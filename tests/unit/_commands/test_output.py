"""What the command shows: tables, plain text, one line for an error; and how soon."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.command import CANARY, Inside, Process, listed
from tests.support.terminal import Terminal
from tests.support.waiting import PATIENCE

ESCAPE = "\x1b["


@pytest.fixture
def kept(vault: Inside) -> Inside:
    """A vault with one thing of each kind, and a token whose label means harm."""
    vault("secret", "set", "key", "--from-file", "-", input="sk-canary")
    vault("env", "set", "web", "KEY=@key")
    vault("route", "set", "api", "--upstream", "https://example.com", "--inject", "Authorization: Bearer {key}")
    vault(
        *("token", "issue", "--secret", "key", "--ttl", "24h", "--uses", "10", "--rate", "60/m"),
        *("--label", f"{ESCAPE}31m\r\n\t[bold]x[/bold]\x9b\u202e\x07 käse"),
    )
    return vault


@pytest.mark.parametrize("kind", ["secret", "env", "route", "token"])
def test_a_list_is_a_coloured_table_on_a_terminal(kind: str, kept: Inside) -> None:
    [row] = listed(kept(kind, "list", "--json"))
    with Terminal(kind, "list") as terminal:
        assert terminal.end() == 0
    assert ESCAPE in terminal.shown
    columns = ("id", "opens", "state") if kind == "token" else list(row)[:3]
    for text in (*columns, str(row.get("name")), "─"):
        assert text in terminal.shown


@pytest.mark.parametrize("kind", ["secret", "env", "route", "token"])
def test_a_list_is_plain_in_a_pipe(kind: str, kept: Inside, process: Process) -> None:
    done = process(kind, "list", TERM="xterm-256color")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(character.isprintable() or character in "\t\n" for character in done.stdout)
    assert len(done.stdout.splitlines()) == 1


def test_json_is_the_same_on_a_terminal_and_in_a_pipe(kept: Inside) -> None:
    with Terminal("token", "list", "--json") as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.shown
    assert json.loads(terminal.shown) == listed(kept("token", "list", "--json"))


def test_a_label_does_not_steer_the_terminal(kept: Inside) -> None:
    with Terminal("token", "list", columns=200) as terminal:
        assert terminal.end() == 0
    assert "?[31m???[bold]x[/bold]??? käse" in terminal.shown
    assert f"{ESCAPE}31m" not in terminal.shown
    assert not {"\x9b", "\u202e", "\x07"} & set(terminal.shown)


def test_an_id_is_whole_on_a_narrow_terminal(kept: Inside) -> None:
    [row] = listed(kept("token", "list", "--json"))
    with Terminal("token", "list", columns=60) as terminal:
        assert terminal.end() == 0
    assert row["id"] in terminal.shown


def test_a_table_of_nothing_says_so(vault: Inside) -> None:
    with Terminal("token", "list") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == "nothing yet\r\n"
    assert vault("token", "list").stdout == ""


@pytest.mark.parametrize("kind", ["secret", "env", "route", "token"])
def test_a_list_is_json_or_lines_of_fields(kind: str, full: Inside) -> None:
    full("token", "issue", "--secret", "key")
    [row] = listed(full(kind, "list", "--json"))
    [line] = full(kind, "list").stdout.splitlines()
    assert len(line.split("\t")) == len(row)
    assert line.startswith(str(next(iter(row.values()))) + "\t")


def test_nothing_that_is_shown_holds_a_secret(full: Inside) -> None:
    full("token", "issue", "--secret", "key")
    for arguments in (
        *((kind, "list") for kind in ("secret", "env", "route", "token")),
        ("secret", "versions", "key"),
        ("env", "show", "web"),
    ):
        for form in ((), ("--json",)):
            shown = full(*arguments, *form).stdout
            assert shown
            assert CANARY not in shown


@pytest.mark.parametrize(
    "command",
    [("secret", "list"), ("secret", "list", "--json"), ("secret", "show", "key", "--reveal"), ("init", "--help")],
    ids=" ".join,
)
def test_an_output_that_is_full_is_one_line(command: tuple[str, ...], kept: Inside) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "oo", *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    assert (done.returncode, done.stderr) == (1, "oo: No space left on device\n")


def test_a_list_that_is_too_wide_leaves_whole_columns_out(vault: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    names, allowed = ("openai-europe-production", "openai-europe-staging"), (
        "POST /v1/chat/completions",
        "GET /v1/models",
    )
    for name in names:
        vault(
            *("route", "set", name, "--upstream", "https://api.openai.com", "--inject", "Authorization: Bearer {key}"),
            *("--allow", allowed[0], "--allow", allowed[1]),
        )
    with Terminal("route", "list", columns=80, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    for row in names:
        assert f" {row} " in terminal.shown
    assert terminal.shown.count("https://api.openai.com ") == terminal.shown.count(" Authorization ") == 2
    assert "not shown, for want of room: allow, secrets, private, timeout\r\n" in terminal.shown
    with Terminal("route", "list", columns=130, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "not shown" not in terminal.shown
    for text in (*allowed, "timeout"):
        assert terminal.shown.count(text) == (1 if text == "timeout" else 2)
