from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.place import parse


@pytest.fixture
async def connections(place: str) -> AsyncIterator[Connections]:
    connections = Connections(parse(place), 2)
    yield connections
    await connections.close()
