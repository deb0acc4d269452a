"""The commands that keep a vault."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import datetime
from pathlib import Path

import pytest

from oo._commands._vault import with_vault
from oo.gateway.tokens import is_token
from tests.support.command import Inside, Process, listed, refused
from tests.support.terminal import Terminal

CANARY = "sk-canary-0123456789"


def test_init_makes_a_vault_and_its_key_for_nobody_else(home: Path, inside: Inside) -> None:
    result = inside("init")
    assert str(home / "vault.db") in result.stdout
    assert str(home / "master.key") in result.stdout
    assert "keep a copy" in result.stdout
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        "vault.db": 0o600,
        "master.key": 0o600,
    }
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_second_init_changes_nothing(home: Path, vault: Inside, inside: Inside) -> None:
    before = {path: path.read_bytes() for path in home.iterdir()}
    assert "already" in refused(inside("init"))
    assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_init_makes_no_key_beside_a_vault_that_lost_its_own(home: Path, vault: Inside, inside: Inside) -> None:
    (home / "master.key").unlink()
    assert "missing" in refused(inside("init"))
    assert not (home / "master.key").exists()


def test_init_takes_the_key_that_the_environment_gives(
    home: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    assert inside("init").stdout == f"vault {home / 'vault.db'}\n"
    assert [path.name for path in home.iterdir()] == ["vault.db"]


def test_init_takes_the_key_of_the_file_that_the_environment_names(
    home: Path, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys" / "oo.key"
    monkeypatch.setenv("OO_MASTER_KEY_FILE", str(path))
    # A path that is mistyped is no place for a new key.
    assert f"names {path}, and there is no file" in refused(inside("init"))
    assert not path.parent.exists()
    assert not home.exists()
    path.parent.mkdir()
    path.write_text(secrets.token_hex(32))
    path.chmod(0o600)
    assert inside("init").stdout == f"vault {home / 'vault.db'}\n"
    assert [path.name for path in home.iterdir()] == ["vault.db"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("secret", "list"),
        ("secret", "rm", "x"),
        ("env", "show", "x"),
        ("route", "list"),
        ("token", "issue", "--secret", "x"),
        ("token", "list"),
        ("audit",),
        ("rekey",),
        ("serve", "--port", "0"),
    ],
    ids=" ".join,
)
def test_without_a_vault_a_command_says_to_make_one(arguments: tuple[str, ...], home: Path, inside: Inside) -> None:
    assert "run `oo init`" in refused(inside(*arguments))
    assert not home.exists()


def test_another_key_opens_nothing_and_changes_nothing(home: Path, vault: Inside, inside: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    (home / "master.key").write_bytes(base64.b64encode(secrets.token_bytes(32)))
    before = (home / "vault.db").read_bytes()
    assert "nothing was changed" in refused(inside("secret", "list"))
    assert "nothing was changed" in refused(inside("rekey"))
    assert (home / "vault.db").read_bytes() == before


def test_a_file_that_is_no_vault_is_one_line(home: Path, vault: Inside, inside: Inside) -> None:
    (home / "vault.db").write_bytes(b"this is no vault at all" * 100)
    assert "vault" in refused(inside("secret", "list"))


def value_of(name: str) -> str | None:
    """What a secret is, as the vault has it."""
    return with_vault(lambda vault: vault.secret(name))


def environment(name: str) -> dict[str, str] | None:
    """What an environment is, as the vault has it."""
    return with_vault(lambda vault: vault.environment(name))


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
    assert environment("web") == {
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
    assert environment("web") == {"A": "1", "B": "2"}


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
    assert environment("web") == {"A": "1"}


def test_a_route_is_kept_as_it_was_set(vault: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault(
        *("route", "set", "api", "--upstream", "https://api.openai.com", "--timeout", "2.5", "--allow-private"),
        *("--inject", "Authorization: Bearer {key}", "--inject", "X-Version: 2024:1"),
        *("--allow", "POST /v1/*", "--allow", "GET /v1/models"),
    )
    assert listed(vault("route", "list", "--json")) == [
        {
            "name": "api",
            "upstream": "https://api.openai.com",
            "inject": ["Authorization", "X-Version"],
            "secrets": ["key"],
            "allow": ["POST /v1/*", "GET /v1/models"],
            "timeout": 2.5,
            "private": True,
            "plain_http": False,
            "weak": False,
        }
    ]
    assert vault("route", "list").stdout.split("\t")[2:5] == [
        "Authorization, X-Version",
        "key",
        "POST /v1/*, GET /v1/models",
    ]
    vault("route", "set", "api", "--upstream", "https://api.openai.com", "--replace")
    [row] = listed(vault("route", "list", "--json"))
    assert (row["inject"], row["allow"], row["timeout"], row["private"]) == ([], ["* /*"], 60, False)
    assert vault("route", "rm", "api").stdout == "route api is gone\n"
    assert listed(vault("route", "list", "--json")) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--upstream", "ftp://host"), "upstream"),
        (("--upstream", "https://user:password@host"), "user name or password"),
        (("--upstream", "https://host", "--inject", "Authorization Bearer"), "no 'Header: text'"),
        (("--upstream", "https://host", "--inject", "Bad Header: x"), "no header"),
        (("--upstream", "https://host", "--inject", "X-Key: a\nX-Other: b"), "no header"),
        (("--upstream", "https://host", "--inject", "X-Key: a", "--inject", "x-key: b"), "injected twice"),
        (("--upstream", "https://host", "--allow", "/v1/*"), "no pattern"),
        (("--upstream", "https://host", "--timeout", "0"), "timeout"),
        (("--upstream", "https://host", "--timeout", "nan"), "timeout"),
    ],
)
def test_what_is_no_route_is_refused(options: tuple[str, ...], said: str, vault: Inside, inside: Inside) -> None:
    assert said in refused(inside("route", "set", "api", *options))
    assert listed(vault("route", "list", "--json")) == []


def test_a_route_needs_an_upstream(vault: Inside, inside: Inside) -> None:
    assert "--upstream" in refused(inside("route", "set", "api"), 2)


@pytest.fixture
def full(vault: Inside) -> Inside:
    """A vault with one thing of each kind."""
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault("env", "set", "web", "KEY=@key", f"LITERAL={CANARY}")
    vault("route", "set", "api", "--upstream", "https://example.com", "--inject", "Authorization: Bearer {key}")
    return vault


@pytest.mark.parametrize("thing", [("--secret", "key"), ("--env", "web"), ("--route", "api")], ids=" ".join)
def test_issue_prints_the_token_and_nothing_else(thing: tuple[str, str], full: Inside) -> None:
    printed = full("token", "issue", *thing).stdout
    assert printed.endswith("\n")
    assert is_token(printed[:-1])


def test_a_token_list_says_everything_but_the_tokens(full: Inside) -> None:
    issued = [
        full("token", "issue", "--secret", "key", "--label", "for the build"),
        full("token", "issue", "--env", "web", "--ttl", "24h", "--uses", "3"),
        full("token", "issue", "--route", "api", "--rate", "60/m"),
    ]
    rows = listed(full("token", "list", "--json"))
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


def test_rekey_changes_the_key_and_keeps_the_values(full: Inside, home: Path) -> None:
    before = (home / "master.key").read_text()
    assert re.match(r"records sealed with the new key: [1-9]", full("rekey").stdout)
    after = (home / "master.key").read_text()
    assert len(after.split()) == 1
    assert after != before
    assert value_of("key") == CANARY


def test_rekey_of_a_key_in_the_environment_wants_both(
    home: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    monkeypatch.setenv("OO_MASTER_KEY", old)
    inside("init")
    inside("secret", "set", "key", "--from-file", "-", input=CANARY)
    assert "OLD,NEW" in refused(inside("rekey"))
    monkeypatch.setenv("OO_MASTER_KEY", f"{old},{new}")
    assert inside("rekey").exit_code == 0
    monkeypatch.setenv("OO_MASTER_KEY", new)
    assert value_of("key") == CANARY


def test_audit_prints_the_lines_there_are(vault: Inside, home: Path) -> None:
    assert vault("audit").stdout == ""
    (home / "audit.jsonl").write_text('{"outcome": "allowed"}\n{"outcome": "revoked"}\n')
    assert vault("audit").stdout == '{"outcome": "allowed"}\n{"outcome": "revoked"}\n'
