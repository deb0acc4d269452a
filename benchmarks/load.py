"""A load of kept-alive connections, each sending its next request when the last is answered."""

from __future__ import annotations

import asyncio
import sys
import time


async def connection(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        lower = head.lower()
        if b"content-length:" in lower:
            await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        else:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        count += 1
    writer.close()
    return count


async def load(host: str, port: int, request: bytes, connections: int, seconds: float) -> float:
    """Requests a second."""
    began = time.perf_counter()
    counts = await asyncio.gather(*(connection(host, port, request, began + seconds) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - began)


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


if __name__ == "__main__":
    _, port, connections, seconds = sys.argv
    print(asyncio.run(load("127.0.0.1", int(port), sys.stdin.buffer.read(), int(connections), float(seconds))))
