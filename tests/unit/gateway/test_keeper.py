"""What the stores do alike is shown of each in tests/integration/stores; here, what only their own rows show."""

from __future__ import annotations

import pytest

from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.vault import Vault
from tests.support.vaults import CANARY, Kept


async def test_an_environment_whose_secret_is_missing_is_damage(kept: Kept) -> None:
    kept.sql("DELETE FROM records WHERE kind IN ('head', 'secret') AND name = 'a'")
    async with kept.open() as vault:
        with pytest.raises(IntegrityError, match="the secret of S in the environment 'env-a' is missing"):
            await vault.environment("env-a")


async def test_what_is_given_of_an_environment_is_the_callers_own(vault: Vault) -> None:
    found = await vault.environment("env-a")
    assert found is not None
    found.clear()
    assert await vault.environment("env-a") == {"S": f"{CANARY} a 2", "L": f"{CANARY} literal a"}


async def test_a_token_lasts_no_longer_than_a_century(vault: Vault) -> None:
    for ttl in (1e12, float("nan")):
        with pytest.raises(StoreError, match="100 years"):
            await vault.issue("secret", "a", ttl=ttl)
    assert await vault.warnings() == []
