"""A supervisor over several workers on one socket: it keeps them running, and replaces them one after the other."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from . import logs
from .errors import StoreError
from .listening import SETTLE, give_way
from .sd_notify import ServiceManager
from .serve_settings import ServeSettings
from .shared_counts import bury
from .stop_signals import DRAIN, HURRY, StopSignals
from .throttled_log import ThrottledLog

logger = logging.getLogger("oo.gateway")

_STOP_TIMEOUT = 10.0  # seconds that workers are given to end, beyond what their calls are given
_STARTED = 1.0  # seconds that a worker must live to count as started
_FAILED_STARTS = 5  # workers in a row that may fail to start
_RETRY_DELAY = 1.0  # seconds until a failed start is tried again
_INTERVAL = 0.05  # seconds between two looks


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: int  # becomes readable when it answers callers, or has ended
    settings: ServeSettings
    started: float
    is_ready: bool = False
    kill_at: float | None = None  # once it was told to end

    def look(self) -> None:
        """Note whether it has said that it answers callers."""
        if not self.is_ready:
            with contextlib.suppress(BlockingIOError):
                self.is_ready = bool(os.read(self.pipe, 1))

    def retire(self, number: int = DRAIN) -> None:
        """Have it end when its calls have, or with HURRY at once."""
        grace = self.settings.grace if number == DRAIN else 0
        self.kill_at = time.monotonic() + grace + _STOP_TIMEOUT
        self.process.send_signal(number)


class Supervisor:
    """Keeps as many workers on a bound socket as the settings say. `reread` gives those anew when SIGHUP comes. `leave`
    has no new connection begin when it ends."""

    def __init__(
        self,
        sock: socket.socket,
        settings: ServeSettings,
        reread: Callable[[], ServeSettings],
        admin: socket.socket | None = None,
        leave: Callable[[], object] | None = None,
    ) -> None:
        self._sock = sock
        self._leave = leave
        self._admin = admin
        self._settings = self._proven = settings
        self._reread = reread
        self._manager = ServiceManager()
        self._workers: list[_Worker] = []
        self._stops = StopSignals()
        self._hung_up = False
        self._failed_starts = 0
        self._errors, self._again = ThrottledLog(), 0.0
        self._is_announced = False
        self._beaten = 0.0

    def run(self) -> int:
        """Run until SIGINT or SIGTERM; a second one ends the workers at once. Returns the exit code."""
        self._take_signals()
        while not self._stops.count and self._failed_starts < _FAILED_STARTS:
            if self._hung_up:
                self._hung_up = False
                self._reload()
            self._bury()
            self._replace()
            self._keep_up()
            self._tell()
            time.sleep(_INTERVAL)
        self._manager.stopping()
        if self._leave is not None and self._stops.count:
            # Of a shared port whoever takes over began second, as in `hand_on`. Where this one did, who connects now is
            # not answered, and tries again a second later.
            if self._settings.shared and give_way(self._sock, 1):
                time.sleep(SETTLE)
            self._leave()
            time.sleep(SETTLE)  # what is begun still comes, while the workers accept
        self._sock.close()
        self._end()
        if not self._stops.count:
            logger.error("%d workers in a row did not come up", self._failed_starts)
        return 0 if self._stops.count else 1

    def _take_signals(self) -> None:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stops.note()

        def hang_up(_number: int, _frame: FrameType | None) -> None:
            self._hung_up = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if sys.platform != "win32":
            signal.signal(signal.SIGHUP, hang_up)

    def _bury(self) -> None:
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            self._workers.remove(worker)
            os.close(worker.pipe)
            if worker.settings.metrics_dir:
                bury(Path(worker.settings.metrics_dir), worker.process.pid)
            if worker.kill_at is not None:
                continue
            code = worker.process.returncode
            age = time.monotonic() - worker.started
            failed = age < _STARTED or code > 0  # on a slow machine it may live longer before it fails
            if failed and not worker.settings.is_same(self._proven):
                logger.error("worker %d ended with %d: the settings before are kept", worker.process.pid, code)
                self._settings = self._proven
                continue
            self._failed_starts = self._failed_starts + 1 if failed else 0
            logger.warning("worker %d ended with %d; another takes its place", worker.process.pid, code)
        for worker in self._workers:
            worker.look()
            if worker.kill_at is not None and time.monotonic() > worker.kill_at:
                worker.process.kill()

    def _replace(self) -> None:
        """Have one worker of other settings end for each that runs with these, and those that are too many."""
        staying = [worker for worker in self._workers if worker.kill_at is None]
        new = [worker for worker in staying if worker.settings.is_same(self._settings)]
        old = [worker for worker in staying if not worker.settings.is_same(self._settings)]
        if all(worker.is_ready for worker in new):
            if new:
                self._proven = self._settings
            surplus = len(staying) - self._settings.workers
            for worker in (old or new)[: max(0, surplus)]:
                worker.retire()

    def _keep_up(self) -> None:
        staying = [worker for worker in self._workers if worker.kill_at is None]
        new = [worker for worker in staying if worker.settings.is_same(self._settings)]
        wanted = self._settings.workers - len(staying)
        if len(new) < len(staying) and all(worker.is_ready for worker in new):
            wanted = max(1, wanted)  # in the place of one that has other settings
        try:
            while wanted > 0 and time.monotonic() >= self._again:
                self._workers.append(_start(self._sock, self._admin, self._settings))
                wanted -= 1
        except OSError as error:
            self._errors.say(f"a worker could not be started: {error.strerror}; it will be tried again")
            self._again = time.monotonic() + _RETRY_DELAY
            self._failed_starts += not self._workers  # the remaining workers continue

    def _reload(self) -> None:
        self._manager.reloading()
        self._is_announced = False
        try:
            settings = self._reread()
        except StoreError as error:
            logger.error("%s; the settings stay as they were", error)  # noqa: TRY400  # one line
            settings = self._settings
        logs.configure(settings.log_format, settings.log_level)
        if not settings.is_same(self._settings):
            logger.info("some of the settings changed: workers that have them take the places of the others")
        self._settings = settings
        for worker in self._workers:
            if worker.settings.is_same(settings) and worker.is_ready:
                worker.process.send_signal(signal.SIGHUP)

    def _tell(self) -> None:
        ready = [worker for worker in self._workers if worker.is_ready and worker.settings.is_same(self._settings)]
        if not self._is_announced and len(ready) >= self._settings.workers:
            self._is_announced = True
            self._manager.ready()
        beat, now = self._manager.watchdog, time.monotonic()
        if beat is not None and ready and now - self._beaten >= beat:
            self._beaten = now
            self._manager.alive()

    def _end(self) -> None:
        for worker in self._workers:
            if worker.kill_at is None:
                worker.retire()
        hurried = False
        while self._workers:
            if self._stops.count > 1 and not hurried:
                hurried = True
                for worker in self._workers:
                    worker.retire(HURRY)
            self._bury()
            time.sleep(_INTERVAL)


def _start(sock: socket.socket, admin: socket.socket | None, settings: ServeSettings) -> _Worker:
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        files = [sock.fileno(), writing] if admin is None else [sock.fileno(), writing, admin.fileno()]
        command = [sys.executable, "-m", "oo.gateway.process", str(sock.fileno())]
        command += ["" if admin is None else str(admin.fileno()), str(writing), str(os.getpid()), settings.to_json()]
        process = subprocess.Popen(  # noqa: S603  # this interpreter, our module
            command, pass_fds=files, start_new_session=True
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return _Worker(process, reading, settings, time.monotonic())
