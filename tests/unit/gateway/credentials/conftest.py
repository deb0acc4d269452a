from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.credential_tools import Tools


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    async with Tools() as tools:
        yield tools
