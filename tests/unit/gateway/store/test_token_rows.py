from __future__ import annotations

import pytest

from oo.gateway.errors import IntegrityError
from tests.support.vaults import Kept


async def test_two_tokens_that_change_places_open_nothing(kept: Kept) -> None:
    (one, first), (other, second) = kept.rows("SELECT id, hash FROM tokens")
    kept.sql(
        f"UPDATE tokens SET id = 'x' WHERE id = '{one}'",
        f"UPDATE tokens SET id = '{one}' WHERE id = '{other}'",
        f"UPDATE tokens SET id = '{other}' WHERE id = 'x'",
    )
    async with kept.open() as vault:
        for token in kept.tokens.values():
            with pytest.raises(IntegrityError, match="is not the one that was stored there"):
                await vault.consume(token, "secret")
        with pytest.raises(IntegrityError):
            await vault.tokens()
