from __future__ import annotations

import asyncio
import base64
import shutil
import stat
from pathlib import Path

import pytest

from oo._http.response import MAX_ANSWER
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Rate, Route, SecretRef, StoredResponse
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.processes import files
from tests.support.vaults import ALL, CANARY, Kept, claimed


async def test_no_file_holds_a_value_a_text_or_a_token(kept: Kept, vault: Vault) -> None:
    token = await vault.issue("secret", "a", label=f"{CANARY} label")
    # While it is open, the last writes are in the log beside the file.
    opens_route = await vault.issue("route", "route-a")
    caller = opens_route, (await vault.tokens())[-1].id
    fence = await claimed(vault, caller, f"{CANARY}-key")
    result = StoredResponse(200, (("X-H", f"{CANARY} header"),), f"{CANARY} body".encode())
    await vault.complete(caller[1], f"{CANARY}-key", fence, CANARY.encode(), result)
    names = {f"{name}.db{end}" for name in ("vault", "results") for end in ("", "-wal", "-shm")}
    assert {path.name for path in kept.home.iterdir()} == {*names, "vault.db-turn"}
    assert (kept.home / "vault.db-wal").stat().st_size > 0
    found = files(kept.home)
    await vault.close()
    found += files(kept.home)
    for text in (CANARY, token, token[3:46]):
        for hidden in (text.encode(), text.encode().hex().encode(), base64.b64encode(text.encode())[:-4]):
            assert hidden not in found
    assert base64.urlsafe_b64decode(token[3:46] + "=") not in found


async def test_its_files_are_their_owners_alone(kept: Kept, vault: Vault) -> None:
    await vault.put_secret("a", "x")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in kept.home.iterdir()}
    assert modes == {f"vault.db{end}": 0o600 for end in ("", "-wal", "-shm", "-turn")}
    assert stat.S_IMODE(kept.home.stat().st_mode) == 0o700


async def test_a_wrong_key_opens_nothing_and_changes_nothing(kept: Kept) -> None:
    before = kept.path.read_bytes()
    with pytest.raises(StoreError, match=r"the master key does not open the vault .*; nothing was changed"):
        Vault(kept.home, lambda: Keyring([new_key()]))
    assert kept.path.read_bytes() == before
    assert await kept.assert_harmless() == ALL


async def test_a_wrong_key_leaves_the_log_of_a_crash_as_it_is(kept: Kept, vault: Vault, tmp_path: Path) -> None:
    await vault.put_secret("a", "in the log alone")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in (VAULT_FILE, f"{VAULT_FILE}-wal"):
        shutil.copy(kept.home / name, crashed / name)
    before = {path.name: path.read_bytes() for path in crashed.iterdir()}
    with pytest.raises(StoreError, match="does not open"):
        Vault(crashed, lambda: Keyring([new_key()]))
    assert {name: (crashed / name).read_bytes() for name in before} == before
    async with kept.open(crashed) as opened:
        assert await opened.secret("a") == "in the log alone"


def test_a_missing_vault_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no vault at .*vault\.db: run `oo init`"):
        Vault(tmp_path, lambda: Keyring([new_key()]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096, None])
def test_a_file_that_is_no_vault_is_a_message(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / VAULT_FILE
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"the vault {path} failed: "):
        Vault(tmp_path, lambda: Keyring([new_key()]))
    assert content is None or path.read_bytes() == content


async def test_a_vault_is_not_made_over_another(kept: Kept) -> None:
    with pytest.raises(StoreError, match="there is a vault at"):
        Vault.create(kept.home, Keyring([new_key()]))
    assert await kept.assert_harmless() == ALL
    assert {path.name for path in kept.home.iterdir()} == {VAULT_FILE, f"{VAULT_FILE}-turn"}


async def test_an_environment_follows_its_secrets(vault: Vault) -> None:
    await vault.put_secret("a", "new")
    assert await vault.environment("env-a") == {"S": "new", "L": f"{CANARY} literal a"}
    await vault.rollback("a", 1)
    assert await vault.environment("env-a") == {"S": f"{CANARY} a 1", "L": f"{CANARY} literal a"}
    assert await vault.variables("env-a") == {"S": SecretRef("a"), "L": f"{CANARY} literal a"}
    assert await vault.environment("none") is None
    assert await vault.variables("none") is None


async def test_an_environment_or_route_of_a_secret_that_is_not_there_is_refused(vault: Vault) -> None:
    for work in (
        vault.put_environment("e", {"A": SecretRef("a"), "N": SecretRef("none")}),
        vault.put_route(Route("r", "http://127.0.0.1", {"X": "{a} {none}"})),
    ):
        with pytest.raises(StoreError, match="there is no secret 'none': `oo secret set none` first"):
            await work
    assert await vault.names("env") == ["env-a", "env-b"]
    assert await vault.names("route") == ["route-a", "route-b"]


async def test_a_secret_that_others_need_is_not_removed(vault: Vault) -> None:
    with pytest.raises(StoreError, match="the secret 'a' is needed by the environment 'env-a', the route 'route-a'"):
        await vault.remove("secret", "a")
    assert await vault.secret("a") == f"{CANARY} a 2"
    await vault.remove("env", "env-a")
    with pytest.raises(StoreError, match=r"the secret 'a' is needed by the route 'route-a'$"):
        await vault.remove("secret", "a")
    await vault.remove("route", "route-a")
    await vault.remove("secret", "a")
    assert await vault.secret("a") is None
    assert await vault.names("secret") == ["b"]
    for kind, name in (("secret", "a"), ("env", "none"), ("route", "a")):
        with pytest.raises(StoreError, match=f"there is no {kind} '{name}'"):
            await vault.remove(kind, name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".a", "a/b", "a b", "é", "a" * 129, "a\n", "{a}"])
async def test_a_name_is_a_name(vault: Vault, name: str) -> None:
    for work in (vault.put_secret(name, "x"), vault.put_environment(name, {}), vault.versions(name)):
        with pytest.raises(StoreError, match="is no name"):
            await work


async def test_a_value_comes_back_as_it_was_up_to_a_size(vault: Vault) -> None:
    longest = MAX_ANSWER - 16 - len('{"value": ""}')
    for value in ("x" * longest, "é" * (longest // 6), "é\U0001f511\0\r\n\t \ud800", " "):
        await vault.put_secret("a", value)
        assert await vault.secret("a") == value
    await vault.put_secret("half", "x" * (longest // 2))
    halves = {name: SecretRef("half") for name in "ABC"}
    for work in (
        vault.put_secret("a", "x" * (longest + 1)),
        vault.put_secret("a", "é" * (longest // 6 + 1)),
        vault.put_environment("e", {"A": "x" * MAX_ANSWER}),
        vault.put_environment("e", halves),
    ):
        with pytest.raises(StoreError, match="larger than"):
            await work


async def test_a_change_by_another_shows_at_once(kept: Kept, vault: Vault) -> None:
    async with kept.open() as other:
        for n in range(10):
            await other.put_secret("a", f"value {n}")
            await asyncio.sleep(0.002)
            assert await vault.secret("a") == f"value {n}"
            await vault.put_secret("a", f"mine {n}")
            assert await vault.secret("a") == f"mine {n}"


async def test_what_is_counted_drops_nothing_that_was_read_and_an_owners_change_all(kept: Kept, vault: Vault) -> None:
    async with kept.open() as other:
        token = await vault.issue("route", "route-a", uses=9, rate=Rate(9, 60.0))
        route = await vault.route("route-a")
        assert isinstance(await vault.authorize(token, "route"), Grant)
        assert isinstance(await other.consume(token, "route"), Grant)
        fence = await claimed(other, (token, other.id_of(token)), "key")
        await other.complete(other.id_of(token), "key", fence, b"digest", None)
        await asyncio.sleep(0.01)
        assert await vault.route("route-a") is route
        await other.put_secret("b", "an owner's change")
        await asyncio.sleep(0.01)
        assert await vault.route("route-a") is not route


async def test_uses_are_judged_by_what_every_process_counted(kept: Kept, vault: Vault) -> None:
    async with kept.open() as other:
        token = await vault.issue("secret", "a", uses=2)
        assert isinstance(await vault.authorize(token, "secret"), Grant)
        for each in (other, vault):
            assert isinstance(await each.consume(token, "secret"), Grant)
        denied = [await each.authorize(token, "secret") for each in (vault, other)]
        assert [each.why for each in denied if isinstance(each, Denial)] == ["used up"] * 2
