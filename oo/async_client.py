"""Where 0.2 had its asyncio client: `from oo.async_client import AsyncClient`. It is in `oo`."""

from ._client.async_client import AsyncClient

__all__ = ["AsyncClient"]
