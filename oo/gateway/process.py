"""`oo serve`: one process, or a supervisor over several on one socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from .. import _plugins
from .app import Gateway, gateway_info, kinds_with
from .audit_log import AuditSettings
from .errors import StoreError
from .open_store import open_store, place_of
from .paths import data_dir as find_home
from .throttled_log import ThrottledLog
from .trusted_proxies import TrustedProxies

logger = logging.getLogger("oo.gateway")

TLSFiles: TypeAlias = "tuple[str, str] | None"
"""A certificate chain and its key, both PEM files."""

_STOP_TIMEOUT = 10.0  # seconds that workers are given to end
_STARTED = 1.0  # seconds that a worker must live to count as started
_FAILED_STARTS = 5  # workers in a row that may fail to start
_RETRY_DELAY = 1.0  # seconds until a failed start is tried again
_ALLOCATIONS = 20_000  # objects between two looks for cycles; 700 by default
_AUDIT = AuditSettings()


def is_loopback(sock: socket.socket) -> bool:
    """Whether a bound socket is reachable from this machine only."""
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def preflight(
    home: Path, tls: TLSFiles, plugins: Sequence[str] = (), audit: AuditSettings = _AUDIT, place: str | None = None
) -> list[str]:
    """Open once what every worker will need, so that an error is reported once and at once. Returns what of the store
    to warn of. StoreError."""
    _context(tls)
    try:
        _plugins.plugins.named(plugins, gateway_info(""))
        kinds_with(plugins)
    except ValueError as error:
        raise StoreError(str(error)) from None
    if audit.target is not None:
        audit.open(home).close()
    TrustedProxies(audit.proxies)
    return asyncio.run(_warnings(place or str(home)))


def run_worker(
    sock: socket.socket,
    home: Path,
    tls: TLSFiles = None,
    plugins: Sequence[str] = (),
    audit: AuditSettings = _AUDIT,
    place: str | None = None,
) -> None:
    """Answer callers on a bound socket until SIGINT or SIGTERM. `plugins` are the names of those to load, `place` is
    the store, by default the vault in `home`. SIGHUP has the audit's file opened anew."""
    _log()
    asyncio.run(_work(sock, home, tls, plugins, audit, place or str(home)))


class LoopErrorLog(ThrottledLog):
    """An event loop's exception handler. Without it, asyncio logs a traceback a hundred times a second when no file can
    be opened for a connection."""

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what failed, without values."""
        error = context.get("exception")
        what = str(context["message"]) if error is None else type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            what = error.strerror
        self.say(f"the event loop met a failure: {what}")


async def _warnings(place: str) -> list[str]:
    async with open_store(place) as store:
        return await store.warnings()


async def _work(
    sock: socket.socket, home: Path, tls: TLSFiles, plugins: Sequence[str], settings: AuditSettings, place: str
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C comes as KeyboardInterrupt
            loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(LoopErrorLog())
    audit = settings.open(home)
    with contextlib.suppress(NotImplementedError, AttributeError):
        loop.add_signal_handler(signal.SIGHUP, audit.reopen)
    try:
        async with (
            open_store(place) as store,
            Gateway(store, sock=sock, tls=_context(tls), audit=audit, plugins=plugins),
        ):
            _spare_collector()
            await stop.wait()
    finally:
        audit.close()


def run_supervisor(
    sock: socket.socket,
    workers: int,
    tls: TLSFiles,
    plugins: Sequence[str] = (),
    audit: AuditSettings = _AUDIT,
    place: str | None = None,
) -> int:
    """Keep that many workers on a bound socket until SIGINT or SIGTERM, then close it; they get SIGHUP too. Returns
    the exit code."""
    _log()
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    running: dict[subprocess.Popen[bytes], float] = {}
    _on_signals(stop, running)
    failed_starts = 0
    errors, again = ThrottledLog(), 0.0
    while not stopping and failed_starts < _FAILED_STARTS:
        for failed in _ended(running):
            failed_starts = failed_starts + 1 if failed else 0
        try:
            while len(running) < workers and time.monotonic() >= again:
                running[_start(sock, tls, plugins, audit, place)] = time.monotonic()
        except OSError as error:
            errors.say(f"a worker could not be started: {error.strerror}; it will be tried again")
            again = time.monotonic() + _RETRY_DELAY
            failed_starts += not running  # the remaining workers continue
        time.sleep(0.05)
    _end(running)
    sock.close()
    if not stopping:
        logger.error("%d workers in a row did not come up", failed_starts)
    return 0 if stopping else 1


def _ended(running: dict[subprocess.Popen[bytes], float]) -> Iterator[bool]:
    """Whether each worker that has ended failed to start. They are taken out."""
    for worker in [worker for worker in running if worker.poll() is not None]:
        age = time.monotonic() - running.pop(worker)
        logger.warning("worker %d ended with %d; another takes its place", worker.pid, worker.returncode)
        yield age < _STARTED or worker.returncode > 0  # on a slow machine it may live longer before it fails


def _end(running: Iterable[subprocess.Popen[bytes]]) -> None:
    for worker in running:
        worker.terminate()
    for worker in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(_STOP_TIMEOUT)
        worker.kill()  # does nothing if it has ended


def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="oo: %(message)s")


def _on_signals(
    stop: Callable[[int, FrameType | None], None], running: Mapping[subprocess.Popen[bytes], float]
) -> None:
    """Stop on SIGINT and SIGTERM; pass SIGHUP on to each worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    def hang_up(number: int, _frame: FrameType | None) -> None:
        for worker in list(running):
            worker.send_signal(number)

    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, hang_up)


def _start(
    sock: socket.socket, tls: TLSFiles, plugins: Sequence[str], audit: AuditSettings, place: str | None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__, str(sock.fileno()), str(os.getpid())]
    command += [",".join(plugins), json.dumps(asdict(audit)), *(tls or ())]
    return subprocess.Popen(  # noqa: S603  # this interpreter, this module
        command,
        pass_fds=[sock.fileno()],
        start_new_session=True,
        env={**os.environ, **({} if place is None else {"OO_STORE": place})},  # not argv: it may hold a password
    )


def _context(tls: TLSFiles) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password, each worker would ask for one on the terminal.
        context.load_cert_chain(*tls, password="")
    except (OSError, ssl.SSLError) as error:
        raise StoreError(f"the TLS files do not fit: {error.strerror or type(error).__name__}") from None
    return context


def _spare_collector() -> None:
    """Have the garbage collector pass over what is there for good, and look for cycles less often: a call makes
    hundreds of objects and hardly one cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 10, 10)


async def _outlive(parent: int) -> None:
    # A supervisor that was killed can't tell its workers.
    while os.getppid() == parent:  # noqa: ASYNC110  # the system has no event for it
        await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


async def _worker(descriptor: int, parent: int, tls: TLSFiles, plugins: Sequence[str], audit: AuditSettings) -> None:
    watch = asyncio.create_task(_outlive(parent))
    try:
        await _work(socket.socket(fileno=descriptor), find_home(), tls, plugins, audit, place_of())
    finally:
        watch.cancel()


def _main(descriptor: str, parent: str, plugins: str, audit: str, *files: str) -> None:
    _log()
    names = plugins.split(",") if plugins else []
    tls, settings = (files[0], files[1]) if files else None, AuditSettings(**json.loads(audit))
    try:
        asyncio.run(_worker(int(descriptor), int(parent), tls, names, settings))
    except StoreError as error:
        logger.error("%s", error)  # noqa: TRY400  # one line
        sys.exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
