"""A load of kept-alive connections, each sending its next request when the last is answered. Prints the requests a
second that were answered, the 99th percentile of how long each took, in milliseconds, and how many they were.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

PAYLOAD = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello! " * 20}]}
BODY = json.dumps(PAYLOAD).encode()
UNIQUE = b"@@UNIQUE@@"
"""What stands in a request for what is different in each."""


async def connection(host: str, port: int, request: bytes, until: float, name: str) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    took = list[float]()
    is_unique = UNIQUE in request
    while (began := time.perf_counter()) < until:
        writer.write(request.replace(UNIQUE, f"{name}-{len(took)}".encode()) if is_unique else request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        lower = head.lower()
        if b"content-length:" in lower:
            await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        else:
            last = b""
            while not last.endswith(b"0\r\n\r\n"):  # with which no body here ends
                last = last[-4:] + await received(reader)
        took.append(time.perf_counter() - began)
    writer.close()
    return took


async def received(reader: asyncio.StreamReader) -> bytes:
    """What is there by now, which is more than nothing."""
    if data := await reader.read(1 << 18):
        return data
    raise ConnectionError("the connection was closed")


async def load(host: str, port: int, request: bytes, connections: int, seconds: float) -> tuple[float, float, int]:
    """Requests a second, the 99th percentile in milliseconds, and the requests."""
    began = time.perf_counter()
    calling = [
        connection(host, port, request, began + seconds, f"{os.getpid()}-{number}") for number in range(connections)
    ]
    took = sorted(each for some in await asyncio.gather(*calling) for each in some)
    late = took[len(took) * 99 // 100] * 1e3 if took else 0.0
    return len(took) / (time.perf_counter() - began), late, len(took)


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def with_fields(sent: bytes, fields: dict[str, str]) -> bytes:
    """A request with those header fields as well."""
    return sent.replace(b"\r\n", b"\r\n" + "".join(f"{name}: {fields[name]}\r\n" for name in fields).encode(), 1)


def keyed(sent: bytes) -> bytes:
    """A request with an Idempotency-Key, which is another each time that it is sent."""
    return with_fields(sent, {"Idempotency-Key": UNIQUE.decode()})


if __name__ == "__main__":
    _, port, connections, seconds = sys.argv
    print(*asyncio.run(load("127.0.0.1", int(port), sys.stdin.buffer.read(), int(connections), float(seconds))))
