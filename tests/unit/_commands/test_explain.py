"""`oo explain`."""

from __future__ import annotations

from pathlib import Path

import pytest

import oo
from tests.support.command import CANARY, Inside, listed, refused
from tests.unit.gateway.credentials.test_base import Plain


@pytest.fixture
def token(vault: Inside, monkeypatch: pytest.MonkeyPatch) -> str:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault(
        *("route", "set", "api", "--upstream", "https://api.example", "--inject", "Authorization: Bearer {key}"),
        *("--allow", "POST /v1/*"),
    )
    token = vault("token", "issue", "--route", "api", "--uses", "1", "--label", "the \x1bbuild").stdout.strip()
    monkeypatch.setenv("OO_TOKEN", token)
    return token


def test_a_call_that_is_allowed_is_explained_and_not_made(vault: Inside, token: str) -> None:
    said = vault("explain", "POST /v1/chat/completions").stdout
    assert [line.split()[0] for line in said.splitlines()] == "token left allowed costs goes injected answer".split()
    assert "(the ?build) opens the route api" in said
    assert not [each for each in (token, CANARY) if each in said]
    [row] = listed(vault("token", "list", "--json"))
    assert (row["used"], row["state"]) == (0, "open")


def test_what_is_allowed_has_the_exit_code_0(inside: Inside, token: str) -> None:
    result = inside("explain", "POST /v1/x")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "refused" not in result.stdout


def test_a_call_that_is_refused_says_by_whom_and_what_mends_it(inside: Inside, token: str) -> None:
    result = inside("explain", "GET /v2/x")
    assert (result.exit_code, result.stderr) == (1, "")
    *_, no, mend = result.stdout.splitlines()
    assert no == "refused   by Allow: the route of this token does not allow that method and path"
    assert mend.startswith("mend      `oo route update api --allow 'POST /v1/*'")


class Kinds:
    @oo.hookimpl
    def oo_credentials(self) -> list[type]:
        return [Plain]


def test_a_kind_that_is_not_loaded_is_refused_and_what_mends_it(vault: Inside, inside: Inside, token: str) -> None:
    oo.register(Kinds(), "plain")
    try:
        vault("route", "update", "api", "--credential", "plain x{key}", "--plugins", "plain")
        result = inside("explain", "POST /v1/x")
        *_, no, mend = result.stdout.splitlines()
        assert result.exit_code == 1
        assert no.startswith("refused   by ApplyCredentials: the route api has credentials of the kind 'plain'")
        assert "`oo explain --plugins NAME` here, `oo serve --plugins NAME` there" in mend
        assert vault("explain", "POST /v1/x", "--plugins", "plain").stdout.endswith("answer    the upstream's\n")
    finally:
        oo.unregister("plain")


def test_what_is_no_token_is_not_said_again(inside: Inside, token: str, tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text(" ".join((token, token)))
    result = inside("explain", "--token-file", str(other), "GET /v1/x")
    assert result.exit_code == 1
    assert token not in result.output
    assert result.stdout.splitlines()[0] == "refused   by Authorize: the token was not accepted"


@pytest.mark.parametrize(
    ("path", "said"), [("/v1/x?key={}", "must be given in one place"), ("/v1/{}", "https://api.example/v1/oo_***")]
)
def test_a_token_in_the_path_is_not_said_again(inside: Inside, token: str, path: str, said: str) -> None:
    result = inside("explain", f"POST {path.format(token)}")
    assert said in result.stdout
    assert token not in result.output
    assert result.exit_code == ("key" in path)
    assert "mend" not in result.stdout


@pytest.mark.parametrize("call", ["POST", "POST v1/x", "", "https://api.example/v1/x"])
def test_what_is_no_call_is_refused(inside: Inside, token: str, call: str) -> None:
    assert "such as 'POST /v1/chat/completions'" in refused(inside("explain", call), 2)


def test_without_a_vault_there_is_nothing_to_explain(
    inside: Inside, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", "oo_x")
    assert "oo init" in refused(inside("explain", "GET /v1/x"))
