from __future__ import annotations

from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.metered_store import metered
from oo.gateway.metrics import Metrics
from oo.gateway.shared_counts import added_up
from oo.gateway.vault import Vault
from tests.support.stores import LenientStore


def counted(directory: Path, name: str) -> dict[tuple[str, ...], float]:
    """How much was counted by operation and engine; of a histogram, without its sum."""
    return {
        key[1:]: sum(cells[:-1] or cells)
        for key, cells, _ in added_up(directory)
        if key[0] == name and any(cells[:-1] or cells)
    }


async def test_what_a_store_takes_and_fails_at_is_counted_by_operation_and_engine(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    store = metered(LenientStore("consume"), metrics)
    await store.authorize("t", "secret")
    assert await store.cors() == frozenset()
    with pytest.raises(RuntimeError):
        await store.consume("t", "secret")
    await store.check()
    assert counted(tmp_path, "oo_store_seconds") == {(each, "other"): 1 for each in ("authorize", "cors", "check")}
    assert counted(tmp_path, "oo_store_errors") == {("consume", "other"): 1}
    metrics.close()


async def test_of_a_vault_each_look_into_the_file_is_counted_and_what_lies_in_memory_costs_nothing(
    tmp_path: Path, vault: Vault
) -> None:
    metrics = Metrics(tmp_path)
    await vault.put_secret("a", "value of a")
    token, counting = await vault.issue("secret", "a"), await vault.issue("secret", "a", uses=2)
    store = metered(vault, metrics)
    for _ in range(3):
        await store.authorize(token, "secret")  # the first looks
        await store.secret("a")  # and so does this
    assert counted(tmp_path, "oo_store_seconds") == {("read", "sqlite"): 2}
    await store.authorize(counting, "secret")  # who it is, and what it has used
    await store.consume(counting, "secret")
    assert counted(tmp_path, "oo_store_seconds") == {("read", "sqlite"): 4, ("consume", "sqlite"): 1}
    assert counted(tmp_path, "oo_store_errors") == {}
    metrics.close()


@pytest.mark.parametrize("damage", ["gone", "tampered"])
async def test_each_look_that_fails_is_counted(tmp_path: Path, vault: Vault, damage: str) -> None:
    metrics = Metrics(tmp_path)
    await vault.put_secret("a", "value of a")
    store = metered(vault, metrics)
    if damage == "gone":
        vault.path.rename(tmp_path / "elsewhere")
    else:
        await vault._database.write(lambda records: records.db.execute("UPDATE records SET sealed = x'00'"))
    with pytest.raises(StoreError):
        await store.secret("a")
    assert counted(tmp_path, "oo_store_errors") == {("read", "sqlite"): 1}
    metrics.close()
