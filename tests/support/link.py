"""A link between a program and a server, which a test can break in each way that a network does."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

Mode = Literal["open", "slow", "half open", "cut", "reset"]
SLOW = 0.05  # seconds that each piece waits


class Link:
    """Passes bytes on to a port of this machine, as its `mode` says: later ("slow"), not at all though the connection
    stands ("half open"), or with every connection closed ("cut") or reset."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._mode: Mode = "open"
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.set("cut")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set(self, mode: Mode) -> None:
        """Have the link be so from now on."""
        self._mode = mode
        if mode in ("cut", "reset"):
            for writer in self._writers:
                if mode == "reset" and (sock := writer.get_extra_info("socket")) is not None:
                    with suppress(OSError):  # closed already
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._mode in ("cut", "reset"):
                return
            with suppress(OSError, asyncio.CancelledError):
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
                self._writers.add(up_writer)
                try:
                    await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
                finally:
                    up_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._mode == "half open":
                    continue  # what is sent is lost, and nobody is told
                if self._mode == "slow":
                    await asyncio.sleep(SLOW)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
