"""`oo secret`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import CANARY, Inside, Process, listed, refused, value_of
from tests.support.terminal import Terminal


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"value", "value"),
        (b"value\n", "value"),
        (b"value\r\n", "value"),
        (b"value\n\n", "value\n"),
        (b"two\nlines\n", "two\nlines"),
        (b" spaces ", " spaces "),
        ("käse\n".encode(), "käse"),
    ],
)
def test_one_line_end_after_a_value_is_dropped(given: bytes, kept: str, vault: Inside, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(given)
    vault("secret", "set", "from-file", "--from-file", str(tmp_path / "value"))
    vault("secret", "set", "from-pipe", "--from-file", "-", input=given)
    assert [value_of(name) for name in ("from-file", "from-pipe")] == [kept, kept]


@pytest.mark.parametrize(
    ("given", "said"), [(b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * (1 << 20), "larger")]
)
def test_a_value_that_is_none_is_refused(given: bytes, said: str, vault: Inside, inside: Inside) -> None:
    assert said in refused(inside("secret", "set", "key", "--from-file", "-", input=given))
    assert listed(vault("secret", "list", "--json")) == []


def test_a_file_that_is_not_there_is_wrong_usage(vault: Inside, inside: Inside, tmp_path: Path) -> None:
    assert "No such file" in refused(inside("secret", "set", "key", "--from-file", str(tmp_path / "none")), 2)


def test_a_secret_is_typed_twice_and_never_shown(vault: Inside) -> None:
    with Terminal("secret", "set", "key") as terminal:
        terminal.until("value of key: ")
        terminal.send(f"{CANARY}\n")
        terminal.until("Repeat for confirmation: ")
        terminal.send(f"{CANARY}\n")
        assert terminal.end() == 0
    assert CANARY not in terminal.shown
    assert "secret key version 1" in terminal.shown
    assert value_of("key") == CANARY


def test_two_values_that_differ_are_asked_for_again(vault: Inside) -> None:
    with Terminal("secret", "set", "key") as terminal:
        for prompt, text in (("value", "one"), ("Repeat", "other"), ("value", "same"), ("Repeat", "same")):
            terminal.until(prompt)
            terminal.until(": ")
            terminal.send(f"{text}\n")
        assert terminal.end() == 0
    assert "oo: what was typed the second time differs; once more" in terminal.shown
    assert value_of("key") == "same"


def test_an_interrupt_at_the_prompt_keeps_nothing(vault: Inside) -> None:
    with Terminal("secret", "set", "key") as terminal:
        terminal.until("value of key: ")
        terminal.send("\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert listed(vault("secret", "list", "--json")) == []


def test_what_would_be_refused_is_not_asked_for(home: Path) -> None:
    with Terminal("secret", "set", "bad name") as terminal:
        assert terminal.end() == 1
    assert "is no name" in terminal.shown
    with Terminal("secret", "set", "key") as terminal:
        assert terminal.end() == 1
    assert "run `oo init`" in terminal.shown


def test_a_value_in_a_pipe_without_from_file_is_told_how(vault: Inside, process: Process) -> None:
    assert "--from-file -" in refused(process("secret", "set", "key", input=f"{CANARY}\n"))
    assert listed(vault("secret", "list", "--json")) == []


def test_a_secret_keeps_its_versions(vault: Inside, inside: Inside) -> None:
    for value in ("one", "two", "three"):
        vault("secret", "set", "key", "--from-file", "-", input=value)
    assert vault("secret", "rollback", "key").stdout == "secret key version 2\n"
    assert value_of("key") == "two"
    assert vault("secret", "rollback", "key", "--to", "1").stdout == "secret key version 1\n"
    assert value_of("key") == "one"
    assert "no version before 1" in refused(inside("secret", "rollback", "key"))
    assert "no version 9" in refused(inside("secret", "rollback", "key", "--to", "9"))
    rows = listed(vault("secret", "versions", "key", "--json"))
    assert [(row["version"], row["current"]) for row in rows] == [(1, True), (2, False), (3, False)]
    vault("secret", "set", "key", "--from-file", "-", input="four")
    assert listed(vault("secret", "list", "--json"))[0]["version"] == 4


def test_what_is_not_there_is_said_by_name(vault: Inside, inside: Inside) -> None:
    for arguments in (
        ("secret", "versions", "none"),
        ("secret", "rollback", "none"),
        ("secret", "rm", "none"),
        ("env", "show", "none"),
        ("env", "rm", "none"),
        ("env", "set", "web", "KEY=@none"),
        ("route", "rm", "none"),
        ("route", "set", "api", "--upstream", "https://example.com", "--inject", "X-Key: {none}"),
        ("token", "issue", "--secret", "none"),
        ("token", "issue", "--env", "none"),
        ("token", "issue", "--route", "none"),
        ("token", "revoke", "none"),
    ):
        assert "'none'" in refused(inside(*arguments)), arguments


def test_a_secret_that_others_need_stays(vault: Inside, inside: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault("env", "set", "web", "KEY=@key")
    assert "'web'" in refused(inside("secret", "rm", "key"))
    assert vault("env", "rm", "web").stdout == "env web is gone\n"
    assert vault("secret", "rm", "key").stdout == "secret key is gone\n"
    assert listed(vault("secret", "list", "--json")) == []


def test_show_tells_what_is_known_and_the_value_only_where_asked(full: Inside) -> None:
    full("token", "issue", "--secret", "key")
    [token] = listed(full("token", "list", "--json"))
    known = listed(full("secret", "show", "key", "--json"))
    assert (known["name"], known["version"], known["versions"]) == ("key", 1, 1)
    assert (known["needed_by"], known["tokens"]) == (["env web", "route api"], [token["id"]])
    shown = full("secret", "show", "key").stdout
    assert CANARY not in shown
    assert "needed by\tenv web, route api" in shown
    assert full("secret", "show", "key", "--reveal").stdout == CANARY


def test_a_value_does_not_steer_the_terminal(vault: Inside) -> None:
    vault("secret", "set", "loud", "--from-file", "-", input="a\x1b]0;owned\x07b")
    with Terminal("secret", "show", "loud", "--reveal") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == "a?]0;owned?b\r\n"


@pytest.mark.parametrize("version", ["0", "-1", "x", "10000000000000000000000"])
def test_a_version_that_cannot_be_is_wrong_usage(version: str, full: Inside, inside: Inside) -> None:
    assert "--to" in refused(inside("secret", "rollback", "key", "--to", version), 2)
