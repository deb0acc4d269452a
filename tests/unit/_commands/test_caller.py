"""Where a command that calls finds its gateway and its token."""

from __future__ import annotations

from pathlib import Path

import pytest

import oo.testing
from tests.support.command import Inside, Process, refused
from tests.support.terminal import Terminal

CALLS = (("get",), ("export",), ("run", "true"), ("proxy", "v1/models"), ("chat", "Hello!"))


def test_a_token_comes_from_a_file_the_environment_or_a_pipe_in_that_order(
    gateway: oo.testing.LocalGateway, process: Process, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    tokens = {name: gateway.secret(name, name) for name in ("file", "environment", "pipe")}
    file.write_text(f"{tokens['file']}\n")
    pipe = f"{tokens['pipe']}\n"
    assert process("get", input=pipe).stdout == "pipe"
    assert process("get", input=pipe, OO_TOKEN="").stdout == "pipe"
    assert process("get", input=pipe, OO_TOKEN=tokens["environment"]).stdout == "environment"
    done = process("get", "--token-file", str(file), input=pipe, OO_TOKEN=tokens["environment"])
    assert done.stdout == "file"


@pytest.mark.parametrize("command", CALLS, ids=" ".join)
def test_without_a_token_a_command_says_where_it_may_be(command: tuple[str, ...], process: Process) -> None:
    assert "set OO_TOKEN, give --token-file, or pipe it in" in refused(process(*command))


def test_a_terminal_is_no_token(gateway: oo.testing.LocalGateway) -> None:
    with Terminal("get") as terminal:
        assert terminal.end() == 1
    assert "set OO_TOKEN" in terminal.shown


def test_a_token_as_an_argument_is_refused_and_not_said_again(secret: str, inside: Inside) -> None:
    for command in ("get", "health"):
        line = refused(inside(command, secret), 2)
        assert secret[3:] not in line
        assert "--help" in line


def test_an_empty_or_missing_token_file_is_one_line(secret: str, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    assert "there is no token" in refused(inside("get", "--token-file", str(tmp_path / "token")))
    assert "does not exist" in refused(inside("get", "--token-file", str(tmp_path / "none")), 2)


@pytest.mark.parametrize("token", ["oo_wrong", "two words", "käse", "a\x1b[31mb"])
def test_a_token_that_opens_nothing_is_one_line_without_it(
    token: str, gateway: oo.testing.LocalGateway, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", token)
    for command in CALLS:
        line = refused(inside(*command))
        assert "token" in line
        assert token not in line


def test_a_gateway_that_is_down_is_one_line(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_TOKEN", "oo_any")
    monkeypatch.setenv("OO_BASE_URL", "http://127.0.0.1:9")
    for command in (("health",), *CALLS):
        assert "connection refused" in refused(inside(*command)), command


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://user:password@localhost"])
def test_a_base_url_that_is_none_is_one_line(url: str, inside: Inside) -> None:
    assert "base URL" in refused(inside("health", "--base-url", url))
