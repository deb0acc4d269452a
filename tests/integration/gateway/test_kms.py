"""Gateways over a store whose master key a real OpenBao keeps, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bao import Bao, running
from tests.support.postgres import free_port
from tests.support.processes import Home, get, reading


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_gateway_that_runs_needs_its_kms_no_more_and_one_that_starts_says_that_it_is_away(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = {"OO_STORE": request.getfixturevalue("postgres")} if kind == "postgres" else {}
    with running() as bao:
        token_file = tmp_path / "token"
        token_file.write_text(bao.token)
        token_file.chmod(0o600)
        environ = {"OO_KMS": bao.url, "BAO_TOKEN_FILE": str(token_file), "OO_STORE_REPLICATED": "1", **store}
        home = Home(tmp_path / "home", **environ)
        home.path.mkdir(0o700)
        said = home.oo("init")
        assert (said.returncode, "master key" in said.stdout) == (0, False)
        assert home.oo("secret", "set", "a", "--from-file", "-", given="value a").returncode == 0
        token = home.oo("token", "issue", "--secret", "a", "--uses", "100000").stdout.strip()
        with home.serve("--workers", "2") as served, reading(served.url, {token: "value a"}) as wrong:
            for options in ((), ("--deep",)):
                said = home.oo("rekey", *options)
                assert (said.returncode, said.stderr) == (0, "")
            bao.ask("transit/keys/oo/rotate")
            assert home.oo("rekey").stdout.startswith("data keys wrapped with the new key: 6\n")
            bao.stop()
            assert get(served.url, token).status == 200
            assert get(served.url, None, "/ready").status == 200
            for command in (("secret", "list"), ("serve", "--port", "0")):
                said = home.oo(*command)
                assert said.returncode == 1
                assert said.stderr.startswith(f"oo: the KMS at {bao.origin} (transit/keys/oo) does not answer: ")
                assert said.stderr.count("\n") == 1
                assert bao.token not in said.stderr + said.stdout
        assert wrong == []
        assert served.news == []


def test_a_command_that_is_run_is_not_shown_the_token_of_the_kms(bao: Bao, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", **bao.environ)
    assert home.oo("init").returncode == 0
    assert home.oo("secret", "set", "a", "--from-file", "-", given="value").returncode == 0
    assert home.oo("env", "set", "e", "A=@a").returncode == 0
    token = home.oo("token", "issue", "--env", "e").stdout.strip()
    with home.serve() as served:
        shown = home.oo("run", "--", "env", OO_BASE_URL=served.url, OO_TOKEN=token)
    assert shown.returncode == 0
    assert "A=value" in shown.stdout
    assert bao.token not in shown.stdout
    assert "OO_KMS" not in shown.stdout


def test_a_token_that_may_not_is_said_and_nothing_is_made(bao: Bao, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", **{**bao.environ, "BAO_TOKEN": "s.canary"})
    said = home.oo("init")
    assert said.returncode == 1
    assert "refuses to encrypt: its token has expired or may not (HTTP 403)" in said.stderr
    assert "canary" not in said.stderr
    home = Home(
        tmp_path / "home", OO_KMS=f"openbao+http://127.0.0.1:{free_port()}/transit/keys/oo", BAO_TOKEN="s.canary"
    )
    said = home.oo("init")
    assert (said.returncode, "does not answer" in said.stderr, "canary" in said.stderr) == (1, True, False)
    assert not (tmp_path / "home" / "vault.db").exists()
