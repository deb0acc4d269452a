"""One process of `oo serve`: it answers callers until it is told to end, and takes new settings over on SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _plugins
from .._core.pipeline import Middleware
from . import logs, trace_export
from .app import Gateway, gateway_info, kinds_with
from .audit_log import AuditLog
from .errors import StoreError
from .listening import is_loopback
from .open_store import open_store
from .paths import data_dir as find_home
from .route_credentials import used_kinds
from .sd_notify import ServiceManager
from .serve_settings import ServeSettings
from .stop_signals import DRAIN, HURRY, StopSignals
from .store.base import Keeper, Store
from .throttled_log import ThrottledLog
from .tls_files import TLSFiles, server_context
from .trusted_proxies import TrustedProxies

if TYPE_CHECKING:
    from .metrics import Metrics

logger = logging.getLogger("oo.gateway")
_FAILURE = "the event loop met a failure: "
_CLOSED = "the handler is closed"  # what uvloop says of a connection
_LOOK = 1.0  # seconds
_SETTLED = 0.5  # seconds from a start until all is there that stays
_ALLOCATIONS = 20_000  # objects that were made and not freed, at which the collector looks at the youngest


def preflight(home: Path, settings: ServeSettings) -> None:
    """Open once what every worker will need, so that an error is reported once and at once. StoreError."""
    if settings.tls is not None:
        server_context(*settings.tls)
    try:
        _plugins.plugins.named(settings.plugins, gateway_info(""))
        kinds_with(settings.plugins)
    except ValueError as error:
        raise StoreError(str(error)) from None
    asyncio.run(_open_once(home))
    if settings.traces:
        trace_export.check()
    if settings.metrics_token_file is not None:
        from . import admin_listener

        admin_listener.read_token(settings.metrics_token_file)
    settings.audit.check(home)
    TrustedProxies(settings.audit.proxies)


def _store(home: Path) -> Keeper:
    """The store that OO_STORE names, else the vault in `home`."""
    return open_store(os.environ.get("OO_STORE") or str(home))


async def _open_once(home: Path) -> None:
    async with _store(home) as store:
        await store.check()


def run_worker(
    sock: socket.socket,
    home: Path,
    settings: ServeSettings,
    reread: Callable[[], ServeSettings],
    admin: socket.socket | None = None,
    leave: Callable[[], object] | None = None,
) -> None:
    """Answer callers on a bound socket until SIGINT or SIGTERM; a second one ends it at once. SIGHUP has it take over
    what `reread` gives, as far as a running process can. Administrators are answered on `admin`. `leave` has no new
    connection begin when it ends."""
    manager = ServiceManager()
    worker = Worker(sock, home, settings, manager.ready)
    worker.reread, worker.manager, worker.admin, worker.leave = reread, manager, admin, leave
    run_fast(worker.run())


def run_fast(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop of its own: uvloop's where that is installed (the extra `speed`), else asyncio's."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


class LoopErrorLog(ThrottledLog):
    """An event loop's exception handler. Without it, asyncio logs a traceback a hundred times a second when no file can
    be opened for a connection."""

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what failed, without values."""
        error = context.get("exception")
        if isinstance(error, RuntimeError) and str(error).endswith(_CLOSED):
            return  # a connection that its peer has reset, to which uvloop's TLS would write once more
        if isinstance(error, OSError) and error.strerror:
            self.tell(error)
        else:
            self.say(_FAILURE + (str(context["message"]) if error is None else type(error).__name__))

    def tell(self, error: OSError) -> None:
        """Log what the system has said."""
        self.say(f"{_FAILURE}{error.strerror}")


class Worker:
    """A process that answers callers. `ready` is called once it does."""

    reread: Callable[[], ServeSettings] | None = None  # a supervisor reads for its workers
    manager: ServiceManager | None = None  # and speaks for them
    admin: socket.socket | None = None
    leave: Callable[[], object] | None = None

    def __init__(self, sock: socket.socket, home: Path, settings: ServeSettings, ready: Callable[[], None]) -> None:
        self._sock = sock
        self._home = home
        self._settings = settings
        self._ready = ready
        self._tls = None if settings.tls is None else TLSFiles(*settings.tls)
        self._metrics = _metrics(settings)
        self._stop, self._hurry, self._stops = asyncio.Event(), asyncio.Event(), StopSignals()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Answer until told to end, and let calls under way end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(errors := LoopErrorLog())
        self._tasks.append(asyncio.create_task(_look_for_files(errors)))
        for number in (signal.SIGINT, signal.SIGTERM, *((DRAIN, HURRY) if self.reread is None else ())):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C comes as KeyboardInterrupt
                loop.add_signal_handler(number, self._end, number)
        async with AsyncExitStack() as stack:
            if self._settings.traces:
                stack.callback(trace_export.start())
            if self._metrics is not None:
                stack.callback(self._metrics.close)
            audit = self._settings.audit.open(self._home)
            stack.callback(audit.close)
            vault = await stack.enter_async_context(_store(self._home))
            gateway = await stack.enter_async_context(self._gateway(vault, audit, await used_kinds(vault)))
            if self.admin is not None:
                await stack.enter_async_context(self._administrators(gateway, self.admin))
            with contextlib.suppress(NotImplementedError, AttributeError):
                loop.add_signal_handler(signal.SIGHUP, self._reload, gateway, audit)
            stack.callback(self._cancel)
            self._watch(gateway)
            loop.call_later(_SETTLED, _spare_garbage_collection)  # who has waited for the start is answered first
            self._ready()
            await self._stop.wait()
            await self._drain(gateway)

    def _gateway(self, vault: Store, audit: AuditLog, kinds: Collection[str]) -> Gateway:
        settings = self._settings
        tls = None if self._tls is None else self._tls.context
        return Gateway(
            vault,
            sock=self._sock,
            tls=tls,
            audit=audit,
            plugins=settings.plugins,
            max_conns=settings.max_conns,
            watchers=_watchers(settings),
            metrics=self._metrics,
            elsewhere=settings.elsewhere,
            kinds=kinds,
        )

    def _administrators(self, gateway: Gateway, sock: socket.socket) -> AbstractAsyncContextManager[None]:
        from . import admin_listener

        token = admin_listener.read_token(self._settings.metrics_token_file)
        tls = None if self._tls is None or is_loopback(sock) else self._tls.context
        return admin_listener.listening(gateway, sock, tls, token, Path(self._settings.metrics_dir))

    def _watch(self, gateway: Gateway) -> None:
        if self._metrics is not None:
            self._tasks.append(asyncio.create_task(self._metrics.watch(gateway.under_way)))
        if self._tls is not None:
            self._tasks.append(asyncio.create_task(self._tls.watch()))
        if self.manager is not None and self.manager.watchdog is not None:
            self._tasks.append(asyncio.create_task(_beat(self.manager, self.manager.watchdog)))

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _end(self, number: int) -> None:
        supervised = self.reread is None
        if supervised and number not in (DRAIN, HURRY):
            return  # it was sent to all of a group, and the supervisor passes it on when the port is handed over
        self._stops.note()
        if number == HURRY if supervised else self._stops.count > 1:
            self._hurry.set()
        self._stop.set()

    async def _drain(self, gateway: Gateway) -> None:
        if self.manager is not None:
            self.manager.stopping()
        settings = self._settings
        # The socket of a worker is its supervisor's, which other workers answer on: that one hands over.
        shared = settings.shared and self.reread is not None
        cut = await gateway.drain(settings.grace, self._hurry, shared=shared, leave=self.leave)
        logger.log(logging.WARNING if cut else logging.INFO, "this process ends: calls that were cut: %d", cut)

    def _reload(self, gateway: Gateway, audit: AuditLog) -> None:
        if self.manager is not None:
            self.manager.reloading()
        self._take_over()
        audit.reopen()
        if self._tls is not None:
            self._tls.reload()
        try:
            gateway.reload()
        except ValueError as error:
            logger.error("%s; the plugins stay as they were", error)  # noqa: TRY400  # one line
        if self.manager is not None:
            self._ready()

    def _take_over(self) -> None:
        if self.reread is None:
            return
        try:
            settings = self.reread()
        except StoreError as error:
            logger.error("%s; the settings stay as they were", error)  # noqa: TRY400  # one line
            return
        logs.configure(settings.log_format, settings.log_level)
        if replace(settings, log_level=self._settings.log_level) != self._settings:
            logger.warning("some of the settings that changed take effect when the gateway is started anew")


def _spare_garbage_collection() -> None:
    """Have the collector leave what is there by now alone, and look at what calls make less often."""
    # Calls under way outlive its young generations, so that it would go through the whole process several times a
    # second: a tenth of the CPU time of a proxied chat with 16 connections.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    gc.enable()


def _metrics(settings: ServeSettings) -> Metrics | None:
    if not settings.metrics_dir:
        return None
    from .metrics import Metrics

    return Metrics(Path(settings.metrics_dir))


def _watchers(settings: ServeSettings) -> list[Middleware]:
    watchers: list[Middleware] = []
    if settings.traces:
        from ..middleware.tracing import Tracing

        watchers.append(Tracing())
    if settings.access_log:
        from .middleware.access_log import AccessLog

        watchers.append(AccessLog())
    return watchers


async def _look_for_files(errors: LoopErrorLog) -> None:
    """Say where no file can be opened: uvloop closes each new connection then, and says nothing."""
    while True:
        await asyncio.sleep(_LOOK)
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            errors.tell(error)


async def _beat(manager: ServiceManager, seconds: float) -> None:
    while True:
        manager.alive()
        await asyncio.sleep(seconds)


async def _outlive(parent: int) -> None:
    # A supervisor that was killed can't tell its workers.
    while os.getppid() == parent:  # noqa: ASYNC110  # the system has no event for it
        await asyncio.sleep(0.5)
    os.kill(os.getpid(), DRAIN)


async def _supervised(worker: Worker, parent: int) -> None:
    watch = asyncio.create_task(_outlive(parent))
    try:
        await worker.run()
    finally:
        watch.cancel()


def _main(descriptor: str, admin: str, ready: str, parent: str, settings: str) -> None:
    known = ServeSettings.from_json(settings)
    logs.configure(known.log_format, known.log_level)

    def tell() -> None:
        with contextlib.suppress(OSError):  # a supervisor that was killed reads nothing
            os.write(int(ready), b"1")
        os.close(int(ready))

    async def run() -> None:
        worker = Worker(socket.socket(fileno=int(descriptor)), find_home(), known, tell)
        worker.admin = socket.socket(fileno=int(admin)) if admin else None
        await _supervised(worker, int(parent))

    try:
        run_fast(run())
    except StoreError as error:
        logger.error("%s", error)  # noqa: TRY400  # one line
        sys.exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
