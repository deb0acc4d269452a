"""Streams that come in pieces, and may break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    """The parts, with a turn of the loop before each; one that is an exception is raised."""
    for part in parts:
        await asyncio.sleep(0)
        if isinstance(part, Exception):
            raise part
        yield part
