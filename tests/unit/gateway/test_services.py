"""What is done with a vault as a whole."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from oo.gateway import keyring, services
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Route, SecretRef, Token
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.vaults import refusal

CANARY = "sk-canary-0123456789"
NOBODY = (65534, 65533)


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    ring = Keyring([new_key()])
    Vault.create(tmp_path / "home", ring)
    async with Vault(tmp_path / "home", lambda: ring) as vault:
        await vault.put_secret("openai-key", CANARY)
        await vault.put_secret("pin", "407193")
        await vault.put_environment("web", {"KEY": SecretRef("openai-key"), "MODE": "x"})
        await vault.put_route(Route("api", "https://example.com", {"Authorization": "Bearer {openai-key}"}))
        yield vault


def refused(what: Any) -> Awaitable[str]:
    return refusal(what, CANARY)


async def test_what_is_not_there_is_answered_with_what_is_near(vault: Vault) -> None:
    near = "did you mean 'openai-key'?"
    assert near in await refused(services.require(vault, "secret", "openai_key"))
    assert near in await refused(services.rollback(vault, "opnai-key", None))
    assert near in await refused(services.issue(vault, "secret", "openai-ky"))
    assert near in await refused(services.put_environment(vault, "e", {"A": SecretRef("openai")}))
    assert near in await refused(services.put_route(vault, Route("r", "https://x.com", {"X": "{openai-kee}"})))
    assert "did you mean 'web'?" in await refused(services.update_environment(vault, "wbe", {"A": "x"}))
    assert "did you mean 'api'?" in await refused(services.update_route(vault, "apii", {"timeout": 1.0}))
    assert "did you mean 'MODE'?" in await refused(services.update_environment(vault, "web", {}, ["MODES"]))
    assert "`oo secret set zzz` first" in await refused(services.require(vault, "secret", "zzz"))
    made = await services.issue(vault, "secret", "openai-key")
    assert made.id in await refused(services.revoke(vault, made.id[:-1] + "!"))
    assert "oo token list" in await refused(services.revoke(vault, "zzz"))


async def test_a_revocation_reads_no_other_token(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await services.issue(vault, "secret", "openai-key")

    async def tokens() -> list[Token]:
        raise AssertionError("all tokens were read")

    monkeypatch.setattr(vault, "tokens", tokens)
    await services.revoke(vault, made.id)
    assert isinstance(await vault.opens(made.token, "secret"), Denial)


async def test_a_revocation_that_fails_says_why(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await services.issue(vault, "secret", "openai-key")

    async def revoke(_id: str) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(vault, "revoke", revoke)
    assert await refused(services.revoke(vault, made.id)) == "the disk is full"


async def test_what_is_there_is_not_overwritten_unless_that_is_meant(vault: Vault) -> None:
    route = Route("api", "https://other.example.com")
    assert "--replace" in await refused(services.put_route(vault, route))
    assert "--replace" in await refused(services.put_environment(vault, "web", {"A": "1"}))
    await services.put_route(vault, route, override=True)
    await services.put_environment(vault, "web", {"A": "1"}, override=True)
    assert await vault.route("api") == route
    assert await vault.variables("web") == {"A": "1"}


async def test_an_update_changes_what_is_named_alone_and_says_what(vault: Vault) -> None:
    assert await services.update_route(vault, "api", {"timeout": 5.0, "allow": ("GET /x",)}) == [
        "allow: everything -> GET /x",
        "timeout: 60 -> 5",
    ]
    assert await services.update_route(vault, "api", {"timeout": 5.0}) == []
    text = "a-text-that-is-not-shown"
    changes: dict[str, Any] = {"inject": {"AUTHORIZATION": text, "X-A": "a"}, "allow_private": True}
    changed = await services.update_route(vault, "api", changes)
    assert text not in str(changed)
    assert changed == [
        "inject Authorization: dropped",
        "inject AUTHORIZATION: added",
        "inject X-A: added",
        "allow private: no -> yes",
    ]
    assert await services.update_route(vault, "api", {"inject": {"X-A": "b"}}, ["authorization"]) == [
        "inject AUTHORIZATION: dropped",
        "inject X-A: changed",
    ]
    assert await vault.route("api") == Route("api", "https://example.com", {"X-A": "b"}, ("GET /x",), 5.0, True)
    assert "did you mean 'X-A'?" in await refused(services.update_route(vault, "api", {}, ["X-B"]))


async def test_an_environments_update_leaves_the_rest(vault: Vault) -> None:
    given = {"MODE": "y", "NEW": CANARY, "KEY": SecretRef("openai-key")}
    assert await services.update_environment(vault, "web", given) == ["MODE changed", "NEW added"]
    assert await services.update_environment(vault, "web", {}, ["NEW"]) == ["NEW dropped"]
    assert await vault.variables("web") == {"KEY": SecretRef("openai-key"), "MODE": "y"}
    assert "needs a variable" in await refused(services.update_environment(vault, "web", {}, ["KEY", "MODE"]))
    assert "no variable name" in await refused(services.update_environment(vault, "web", {"not a name": "x"}))


async def test_an_update_is_held_to_the_rules_of_what_it_changes(vault: Vault) -> None:
    # As a route may have been put before there was such a rule.
    await vault.put_route(Route("old", "http://example.com", {"X-Pin": "{pin}", "X-B": "{"}))
    assert await services.update_route(vault, "old", {"timeout": 5.0})
    assert "plain http" in await refused(services.update_route(vault, "old", {"upstream": "http://example.com/v1"}))
    assert "brace" in await refused(services.update_route(vault, "old", {"inject": {"X-C": "c"}}))


async def test_a_value_too_short_to_be_masked_is_not_injected_unless_that_is_meant(vault: Vault) -> None:
    weak = Route("weak", "https://example.com", {"X-Pin": "{pin}"})
    assert "--allow-weak" in await refused(services.put_route(vault, weak))
    assert "--allow-weak" in await refused(services.update_route(vault, "api", {"inject": {"X-Pin": "{pin}"}}))
    await services.put_route(vault, Route("meant", "https://example.com", {"X-Pin": "{pin}"}, allow_weak=True))
    assert await services.weak_uses(vault) == []
    assert await services.put_secret(vault, "pin", "12") == (2, [])
    # A route that was there before goes on, and is told of.
    await vault.put_route(weak)
    [warning] = await services.weak_uses(vault)
    assert "'weak'" in warning
    for said in (await services.put_secret(vault, "pin", "123"), await services.rollback(vault, "pin", 1)):
        assert said[1] == [warning]
    assert (await services.put_secret(vault, "pin", "long enough"))[1] == []
    # A long secret of a route may become short.
    assert len((await services.put_secret(vault, "openai-key", "short"))[1]) == 1


async def test_tokens_are_found_by_what_they_open_and_how_they_are(vault: Vault) -> None:
    made = {
        "open": await services.issue(vault, "secret", "openai-key", label="The Build"),
        "expired": await services.issue(vault, "env", "web", ttl=-1),
        "used up": await services.issue(vault, "secret", "pin", uses=1),
        "revoked": await services.issue(vault, "route", "api"),
    }
    assert len({issued.id for issued in made.values()}) == 4
    await services.revoke(vault, made["revoked"].id)
    await vault.consume(made["used up"].token, "secret")
    ids = {state: issued.id for state, issued in made.items()}

    async def found(*args: Any, **filters: Any) -> list[str]:
        return [token.id for token in await services.tokens(vault, *args, **filters)]

    assert await found() == list(ids.values())
    for state, identity in ids.items():
        assert await found(states=[state]) == [identity]
    assert await found([("secret", "pin"), ("env", "web")]) == [ids["expired"], ids["used up"]]
    assert await found(label="build") == [ids["open"]]
    assert [token.id for token in await services.prune_tokens(vault)] != []
    assert await found() == [ids["open"]]
    assert await services.prune_tokens(vault) == []
    assert CANARY not in repr(made)
    assert made["open"].token not in repr(made)


async def test_an_id_is_the_tokens_own(vault: Vault) -> None:
    for terms in ({}, {"ttl": -1.0}, {"uses": 1}):
        made = await services.issue(vault, "env", "web", **terms)
        [token] = [token for token in await vault.tokens() if token.id == made.id]
        assert token.used == 0
        assert token.issued == pytest.approx(time.time(), abs=60)


async def test_who_needs_a_secret_is_known(vault: Vault) -> None:
    assert await services.users_of(vault, "openai-key") == ["env web", "route api"]
    assert await services.users_of(vault, "pin") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in another's home")
async def test_what_root_makes_in_anothers_home_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OO_MASTER_KEY", raising=False)
    monkeypatch.delenv("OO_MASTER_KEY_FILE", raising=False)
    home = tmp_path / "home"
    home.mkdir(0o700)
    os.chown(home, *NOBODY)
    services.create_store(str(home))
    await services.rekey_store(str(home))
    assert {path.name for path in home.iterdir()} == {"vault.db", "vault.db-turn", "master.key"}
    for path in home.iterdir():
        found = path.stat()
        assert ((found.st_uid, found.st_gid), stat.S_IMODE(found.st_mode)) == (NOBODY, 0o600)


async def test_a_vault_is_made_with_a_key_and_moves_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OO_MASTER_KEY", raising=False)
    monkeypatch.delenv("OO_MASTER_KEY_FILE", raising=False)
    vault, key = services.create_store(str(tmp_path / "home"))
    assert (vault, key) == (str(tmp_path / "home" / "vault.db"), tmp_path / "home" / "master.key")
    before = keyring.read_keys(tmp_path / "home")
    count, path = await services.rekey_store(str(tmp_path / "home"))
    assert count > 0
    assert path == key
    assert keyring.read_keys(tmp_path / "home") != before
