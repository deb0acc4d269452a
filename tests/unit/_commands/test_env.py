"""`oo env`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import CANARY, Inside, environment_of, listed, refused


def test_an_environment_holds_secrets_and_literals_and_shows_neither(vault: Inside, tmp_path: Path) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    (tmp_path / ".env").write_text(
        f"# a comment\nMODE=overridden\nexport QUOTED='{CANARY} two'\nRAW=${{HOME}}\nEMPTY=\n"
    )
    result = vault(
        *("env", "set", "web", "KEY=@key", "MODE=production", "AT=@@home", "EQUALS=a=b"),
        *("--from-file", str(tmp_path / ".env")),
    )
    assert CANARY not in result.stdout
    shown = vault("env", "show", "web")
    assert dict(line.split("\t") for line in shown.stdout.splitlines()) == {
        "MODE": "***",
        "QUOTED": "***",
        "RAW": "***",
        "EMPTY": "***",
        "KEY": "@key",
        "AT": "***",
        "EQUALS": "***",
    }
    assert environment_of("web") == {
        "MODE": "production",
        "QUOTED": f"{CANARY} two",
        "RAW": "${HOME}",
        "EMPTY": "",
        "KEY": CANARY,
        "AT": "@home",
        "EQUALS": "a=b",
    }


def test_a_dotenv_file_may_come_through_a_pipe(vault: Inside) -> None:
    vault("env", "set", "web", "--from-file", "-", input="A=1\nB=2\n")
    assert environment_of("web") == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (("KEY",), "is no KEY=@SECRET"),
        (("1KEY=x",), "no variable name"),
        (("=x",), "no variable name"),
        (("KEY =x",), "no variable name"),
        (("KEY\x1b[31m=x",), "no variable name"),
        (("KEY=\udcff",), "UTF-8"),
    ],
)
def test_what_is_no_variable_is_refused(variables: tuple[str, ...], said: str, vault: Inside, inside: Inside) -> None:
    assert said in refused(inside("env", "set", "web", *variables))
    assert listed(vault("env", "list", "--json")) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"A=1\nthis is no variable\n", "line 2"), (b"A='open\n", "line 1"), (b"A=\xff\n", "UTF-8"), (b"A=a\0b\n", "NUL")],
)
def test_a_file_that_is_no_dotenv_keeps_nothing(
    content: bytes, said: str, vault: Inside, inside: Inside, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert said in refused(inside("env", "set", "web", "--from-file", str(tmp_path / ".env")))
    assert listed(vault("env", "list", "--json")) == []


def test_an_environment_of_nothing_is_wrong_usage(vault: Inside, inside: Inside) -> None:
    vault("env", "set", "web", "A=1")
    assert "KEY=@SECRET" in refused(inside("env", "set", "web"), 2)
    assert environment_of("web") == {"A": "1"}


def test_an_environment_that_is_there_is_kept_unless_it_is_replaced(vault: Inside, inside: Inside) -> None:
    vault("env", "set", "web", "A=1", "B=2")
    assert "oo env update web" in refused(inside("env", "set", "web", "A=2"))
    assert environment_of("web") == {"A": "1", "B": "2"}
    vault("env", "set", "web", "A=2", "--replace")
    assert environment_of("web") == {"A": "2"}


def test_an_update_says_what_changed_and_leaves_the_rest(vault: Inside, inside: Inside) -> None:
    vault("env", "set", "web", "A=1", "B=2", "C=3")
    result = vault("env", "update", "web", "A=1", f"B={CANARY}", "D=4", "--drop", "C")
    assert result.stdout == "env web: B changed\nenv web: D added\nenv web: C dropped\n"
    assert environment_of("web") == {"A": "1", "B": CANARY, "D": "4"}
    assert vault("env", "update", "web", "A=1").stdout == "env web: nothing changed\n"
    assert "did you mean 'A'" not in refused(inside("env", "update", "web", "--drop", "ZZZ"))
    assert "KEY=@SECRET" in refused(inside("env", "update", "web"), 2)
