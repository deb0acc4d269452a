"""Bad tokens as fast as they are refused, in a process of its own: `python -m tests.support.flood URL SECONDS
CONNECTIONS`. Half of them have a token's shape and checksum. Says "up", then how many were refused, and
ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

from oo.gateway.tokens import new_token

_TOGETHER = 16  # requests that a connection sends in one go


async def _refused(host: str, port: int, end: float) -> int:
    count = 0
    reader, writer = await asyncio.open_connection(host, port)
    tokens = [token for _ in range(_TOGETHER // 2) for token in (new_token(), f"oo_{new_token()[4:]}x")]
    ask = "".join(f"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n" for token in tokens)
    while time.monotonic() < end:
        writer.write(ask.encode())
        for _ in tokens:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 401 "):
                raise SystemExit(f"not refused: {head[:12]!r}")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            count += 1
    writer.close()
    return count


async def _main(url: str, seconds: str, connections: str) -> None:
    address = urlsplit(url)
    end = time.monotonic() + float(seconds)
    print("up", flush=True)
    host, port = str(address.hostname), int(address.port or 0)
    print(sum(await asyncio.gather(*(_refused(host, port, end) for _ in range(int(connections))))))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
