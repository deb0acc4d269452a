"""The parent of a proxied program, run as a script of its own: `python -I _parent.py FOLDER GATEWAY -- COMMAND`.

Plain `oo run` becomes its command. Here somebody has to stay: to delete the program's files when it ends, and to reach
a gateway that is spoken to over TLS or at a Unix socket, for most programs can speak to neither as a proxy. It is begun
with the program's own environment, so that no process that the program sees holds more than it has itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from urllib.parse import unquote, urlsplit

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_TYPED = ("SIGINT", "SIGQUIT")
_PIECE = 64 << 10  # bytes
_WAIT = 10.0  # seconds until the gateway is connected to

MARK = "OO_FORWARDER"
"""What stands in the URL of the proxy for the forwarder's place."""


class Forwarder:
    """Listens on loopback, and carries each connection to a gateway: over TLS, or to a Unix socket. It has a thread and
    a loop of its own, from when it is made until `close`."""

    def __init__(self, gateway: str, bundle: str) -> None:
        self._gateway = urlsplit(gateway)
        self._tls = ssl.create_default_context(cafile=bundle) if self._gateway.scheme == "https" else None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = concurrent.futures.Future[None]()
        self._thread = threading.Thread(target=asyncio.run, args=(self._listen(),), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Carry nothing more."""
        self._over.set_result(None)
        self._thread.join()

    async def _listen(self) -> None:
        async with await asyncio.start_server(self._carry_until_over, sock=self._listener):
            await asyncio.wrap_future(self._over)

    async def _carry_until_over(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        # asyncio.streams asks each such task for its exception, which a cancelled one raises into the loop's log.
        with contextlib.suppress(asyncio.CancelledError):
            await self._carry(near, back)

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, away = await asyncio.wait_for(self._connected(), _WAIT)
        except (OSError, ValueError, asyncio.TimeoutError):  # ssl.SSLError is an OSError
            back.close()  # the program sees its proxy hang up
            return
        await asyncio.gather(_copy(near, away), _copy(far, back))
        for writer in (away, back):
            writer.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._gateway.scheme == "http+unix":
            return await asyncio.open_unix_connection(unquote(self._gateway.netloc))
        return await asyncio.open_connection(self._gateway.hostname, self._gateway.port or 443, ssl=self._tls)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    target.close()  # which sends what is left; the other direction ends with it


def run(folder: str, gateway: str, command: list[str]) -> int:
    """Run a command, and delete the folder when it has ended. Its exit code; negative where a signal ended it."""
    environment = dict(os.environ)
    forwarder = None
    try:
        if gateway:
            forwarder = Forwarder(gateway, os.path.join(folder, "bundle.pem"))
            environment = {name: value.replace(MARK, forwarder.address) for name, value in environment.items()}
        return _run(command, environment)
    finally:
        if forwarder is not None:
            forwarder.close()
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], environment: dict[str, str]) -> int:
    child: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def passed_on(number: int, _frame: object) -> None:
        if not child:
            early.append(number)
        elif not (signal.Signals(number).name in _TYPED and _has_terminal()):  # which has told the child itself
            child[0].send_signal(number)

    for name in _PASSED_ON:
        known = getattr(signal, name, None)
        if known is not None and signal.getsignal(known) is not signal.SIG_IGN:
            signal.signal(known, passed_on)
    try:
        child.append(subprocess.Popen(command, env=environment, close_fds=False))  # noqa: S603  # the user's own
    except OSError as error:
        sys.stderr.write(f"oo: {command[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126  # as env(1) has it
    except ValueError:
        sys.stderr.write("oo: no command can be called that, or take such an argument\n")
        return 126
    for number in early:
        child[0].send_signal(number)
    return child[0].wait()


def _has_terminal() -> bool:
    """Whether a terminal sends its signals to this process and to its child alike."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return os.name != "posix"  # a console of Windows does


def main() -> None:
    """Run the command of this process's arguments, and end as it did."""
    folder, gateway, _, *command = sys.argv[1:]
    code = run(folder, gateway, command)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
