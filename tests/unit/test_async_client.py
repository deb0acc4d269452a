"""`oo.async_client`: where 0.2 had its asyncio client."""

from __future__ import annotations

import oo
import oo.async_client


def test_the_client_is_the_one_of_oo() -> None:
    assert oo.async_client.AsyncClient is oo.AsyncClient
