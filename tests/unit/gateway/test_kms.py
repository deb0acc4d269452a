from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import oo
from oo.gateway import keyring, kms
from oo.gateway.errors import IntegrityError, StoreError, StoreUnavailable
from oo.gateway.kms import OWN, KmsKey, MasterRing, connect, joined
from oo.gateway.sealing import Keyring, key_id
from oo.gateway.store import data_keys
from oo.gateway.vault import Vault
from tests.support.bao import Bao

A, B = b"a" * 32, b"b" * 32
CANARY = "canary-3d77"


class Acme:
    """A KMS that keeps its key in memory; `failure` is what it raises."""

    id = "key-1"
    failure: Exception | None = None

    def __init__(self) -> None:
        self.unwrapped = 0

    def wrap(self, key: bytes, context: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        return context + b"|" + bytes(byte ^ 1 for byte in key)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.unwrapped += 1
        if not wrapped.startswith(context + b"|"):
            raise ValueError(CANARY)
        return bytes(byte ^ 1 for byte in wrapped[len(context) + 1 :])


@pytest.fixture
def acme() -> Iterator[Acme]:
    """The one of a plugin that is registered as `acme`."""
    service = Acme()
    urls: list[str] = []

    @oo.hookimpl
    def oo_kms(url: str) -> Acme:
        urls.append(url)
        if "breaks" in url:
            raise RuntimeError(CANARY)
        return service

    oo.register(SimpleNamespace(oo_kms=oo_kms), "acme")
    yield service
    oo.unregister("acme")


def seal_and_open(ring: Any) -> bool:
    value: bytes = ring.open(ring.current, "key", "n", 1, ring.seal(ring.current, "key", "n", 1, b"value"))
    return value == b"value"


def test_a_plugin_wraps_for_the_scheme_of_its_name(acme: Acme) -> None:
    ring = connect("acme://anything?at=all")
    assert ring.current == "acme:key-1"
    assert (ring.current in ring, "acme:key-2" in ring, ring.own) == (True, False, ())
    assert seal_and_open(ring)
    sealed = ring.seal(ring.current, "key", "n", 1, b"value")
    with pytest.raises(
        IntegrityError, match="the key 'other' in the vault is not what acme:key-1 has wrapped"
    ) as caught:
        ring.open(ring.current, "key", "other", 1, sealed)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("failure", [OSError(CANARY), KeyError(CANARY), TimeoutError(CANARY)])
def test_whatever_else_a_kms_raises_is_unavailable_without_its_words(acme: Acme, failure: Exception) -> None:
    ring = connect("acme://x")
    acme.failure = failure
    for attempt in (
        lambda: ring.seal(ring.current, "key", "n", 1, b"v"),
        lambda: ring.open(ring.current, "key", "n", 1, b"v"),
    ):
        with pytest.raises(StoreUnavailable, match=f"the KMS acme:key-1 failed: {type(failure).__name__}") as caught:
            attempt()
        assert (CANARY in str(caught.value), caught.value.__context__) == (False, None)
    acme.failure = StoreError("its own words")
    for attempt in (
        lambda: ring.seal(ring.current, "key", "n", 1, b"v"),
        lambda: ring.open(ring.current, "key", "n", 1, b"v"),
    ):
        with pytest.raises(StoreError, match="its own words"):
            attempt()


@pytest.mark.parametrize("how", ["another key", "text", "nothing", "refusal"])
def test_what_a_kms_does_not_unwrap_again_takes_no_keys_place(acme: Acme, how: str, tmp_path: Path) -> None:
    load = lambda: joined("acme://x", [])  # noqa: E731  # a callable
    Vault.create(tmp_path, load())
    wraps: dict[str, Callable[[bytes, bytes], object]] = {
        "another key": lambda key, context: Acme.wrap(acme, key[::-1], context),
        "text": lambda key, context: "text",
        "nothing": lambda key, context: None,
        "refusal": lambda key, context: int(CANARY),
    }
    acme.wrap = wraps[how]  # type: ignore[method-assign, assignment]

    async def attempt() -> None:
        async with Vault(tmp_path, load) as vault:
            before = await vault.keys()
            for deep in (False, True):
                with pytest.raises(StoreError, match=r"nothing was changed|failed: it answered with") as caught:
                    await vault.rekey(load(), deep=deep)
                assert CANARY not in str(caught.value)
            assert await vault.keys() == before

    for _ in range(2):  # it opens as before
        asyncio.run(attempt())


@pytest.mark.parametrize("answer", [1, None, "text"])
def test_what_is_unwrapped_and_no_bytes_is_unavailable(acme: Acme, answer: object) -> None:
    acme.unwrap = lambda wrapped, context: answer  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(StoreUnavailable, match=r"it answered with .*, not bytes"):
        connect("acme://x").open("acme:key-1", "key", "n", 1, b"")


def test_a_kms_of_a_plugin_needs_an_id_that_is_text(acme: Acme) -> None:
    acme.id = 1  # type: ignore[assignment]
    with pytest.raises(StoreError, match="the KMS of plugin acme has no `id` that is text"):
        connect("acme://x")


@pytest.mark.usefixtures("acme")
def test_a_plugin_that_is_not_there_breaks_or_has_no_such_hook_is_an_error() -> None:
    with pytest.raises(
        StoreError, match="OO_KMS: plugin none cannot be loaded: ValueError; without a plugin it begins with openbao://"
    ):
        connect("none://x")
    with pytest.raises(StoreError, match="OO_KMS: plugin acme cannot be loaded: RuntimeError") as caught:
        connect("acme://breaks")
    assert CANARY not in str(caught.value)
    oo.register(SimpleNamespace(oo_middleware=oo.hookimpl(lambda client: [])), "other")  # its parameter
    try:
        with pytest.raises(StoreError, match=r"plugin other has no `@oo.hookimpl def oo_kms"):
            connect("other://x")
    finally:
        oo.unregister("other")


@pytest.mark.parametrize("text", [CANARY, f"{CANARY}:x", f"/{CANARY}"])
def test_what_is_no_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(StoreError, match="what is no URL") as caught:
        connect(text)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "keys", "current"),
    [
        ("acme://x", [], "acme:key-1"),
        ("acme://x", [A], "acme:key-1"),
        (f"acme://x,{OWN}", [A, B], key_id(B)),
        (f"{OWN} , acme://x,", [A], "acme:key-1"),
        (OWN, [A], key_id(A)),
    ],
)
@pytest.mark.usefixtures("acme")
def test_all_of_a_setting_unwrap_and_the_last_one_wraps(setting: str, keys: list[bytes], current: str) -> None:
    ring = joined(setting, keys)
    assert (ring.current, list(ring.own)) == (current, keys)
    assert seal_and_open(ring)
    for key in keys:
        before = Keyring([key])
        assert ring.open(before.current, "key", "n", 1, before.seal(before.current, "key", "n", 1, b"v")) == b"v"
    assert "none" not in ring
    with pytest.raises(KeyError):
        ring.open("none", "key", "n", 1, b"")
    with pytest.raises(StoreError, match="is 'master-key', and there is no master key"):
        joined(OWN, [])


def test_a_ring_of_rings_opens_with_the_one_that_has_the_key() -> None:
    ring = MasterRing([Keyring([A]), Keyring([B])])
    assert ring.current == key_id(B)
    assert ring.open(key_id(A), "key", "n", 1, Keyring([A]).seal(key_id(A), "key", "n", 1, b"v")) == b"v"


async def test_a_vault_moves_between_two_kms_that_call_their_keys_alike(tmp_path: Path) -> None:
    class Old(Acme):
        def wrap(self, key: bytes, context: bytes) -> bytes:
            return super().wrap(key, b"old" + context)

        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            return super().unwrap(wrapped, b"old" + context)

    old, new = KmsKey("acme", Old()), KmsKey("acme", Acme())
    Vault.create(tmp_path, old)
    async with Vault(tmp_path, lambda: MasterRing([old, new])) as vault:
        await vault.put_secret("a", "x")
        assert await vault.rekey(MasterRing([old, new])) == 5
    with pytest.raises(StoreError, match="acme:key-1, which OO_KMS names, says that it has not wrapped its keys"):
        Vault(tmp_path, lambda: old)
    async with Vault(tmp_path, lambda: new) as vault:
        assert await vault.secret("a") == "x"


@pytest.mark.usefixtures("acme")
def test_the_setting_decides_who_wraps(tmp_path: Path) -> None:
    environ = {"OO_KMS": "acme://x"}
    assert keyring.load(tmp_path, environ).current == "acme:key-1"
    assert (keyring.is_own(environ), keyring.is_own({}), keyring.is_own({"OO_KMS": f"acme://x, {OWN} "})) == (
        False,
        True,
        True,
    )
    keyring.write_keys(keyring.key_path(tmp_path, {}), [A])
    assert list(keyring.load(tmp_path, environ).own) == [A]
    assert keyring.load(tmp_path, {"OO_KMS": OWN}).current == key_id(A)
    tmp_path.chmod(0o770)
    with pytest.raises(StoreError, match="others can write into"):
        keyring.load(tmp_path, environ)
    tmp_path.chmod(0o700)
    # One that is named and is not there is an error, as ever.
    with pytest.raises(StoreError, match="there is no file"):
        keyring.load(tmp_path, {**environ, "OO_MASTER_KEY_FILE": str(tmp_path / "none")})


async def test_a_vault_asks_a_kms_once_for_each_key_and_goes_on_without_it(tmp_path: Path, acme: Acme) -> None:
    load = lambda: joined("acme://x", [])  # noqa: E731  # a callable
    Vault.create(tmp_path, load())
    acme.unwrapped = 0
    async with Vault(tmp_path, load) as vault:
        assert acme.unwrapped == 5
        await vault.put_secret("a", "x")
        await vault.issue("secret", "a")
        acme.failure = OSError("away")
        assert await vault.put_secret("a", "y") == 2
        assert await vault.secret("a") == "y"
        await vault._learn()
        with pytest.raises(StoreUnavailable, match="the KMS acme:key-1 failed: OSError"):
            Vault(tmp_path, load)
        with pytest.raises(StoreUnavailable):
            await vault.rekey(load())
        acme.failure = None
        assert await vault.rekey(load()) == 5
        assert await vault.rekey(load(), deep=True) > 3
        assert await vault.secret("a") == "y"
    async with Vault(tmp_path, load) as vault:
        assert await vault.secret("a") == "y"


async def test_a_key_that_a_kms_is_away_for_is_unavailable_and_then_opens(tmp_path: Path, acme: Acme) -> None:
    load = lambda: joined("acme://x", [])  # noqa: E731  # a callable
    Vault.create(tmp_path, load())
    async with Vault(tmp_path, load) as vault, Vault(tmp_path, load) as other:
        await vault.put_secret("a", "x")
        await other.rekey(load(), deep=True)
        acme.failure = OSError("away")
        for attempt in (vault.secret("a"), vault.put_secret("a", "y"), vault.names("secret")):
            if attempt.__name__ == "names":
                assert await attempt == ["a"]  # which opens nothing
                continue
            with pytest.raises(StoreUnavailable):
                await attempt
        acme.failure = None
        assert await asyncio.gather(*(vault.secret("a") for _ in range(5))) == ["x"] * 5


async def test_a_vault_moves_into_a_kms_and_out_again(
    tmp_path: Path, bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bao.environ.items():
        monkeypatch.setenv(name, value)
    file = Keyring([A])
    Vault.create(tmp_path, file)
    async with Vault(tmp_path, lambda: file) as vault:
        await vault.put_secret("a", "x")
        await vault.rekey(joined(bao.url, [A]))
        assert {row.sealed[0] for row in await vault.keys()} == {bao.id}
    with pytest.raises(StoreError, match="its keys are wrapped by openbao:transit/keys/oo, which OO_KMS does not name"):
        Vault(tmp_path, lambda: file)
    async with Vault(tmp_path, lambda: joined(bao.url, [])) as vault:
        assert await vault.secret("a") == "x"
        await vault.rekey(joined(f"{bao.url},{OWN}", [B]))
    async with Vault(tmp_path, lambda: Keyring([B])) as vault:
        assert await vault.secret("a") == "x"


async def test_a_wrapped_key_is_bound_to_its_row_in_openbao_too(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bao.environ.items():
        monkeypatch.setenv(name, value)
    ring = connect(bao.url)
    row = data_keys.new("secrets", 1, ring)
    assert data_keys.unwrap(row, ring).row == row
    for changed in (row._replace(number=2), row._replace(purpose="tokens"), row._replace(sealed=(bao.id, b"\xff"))):
        with pytest.raises(IntegrityError):
            data_keys.unwrap(changed, ring)


def test_the_word_for_the_own_key_is_one() -> None:
    assert isinstance(KmsKey("x", Acme()), KmsKey)
    assert keyring.is_own({"OO_KMS": kms.OWN})
