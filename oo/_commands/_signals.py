"""Delays the signals that would end the process while something is half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class PutOff:
    """Delays Ctrl-C, SIGTERM and SIGHUP until its `with` block has ended. It works in the main thread alone, because
    Python sets handlers of signals only there."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came: int | None = None
        self._may_interrupt = False

    def __enter__(self) -> PutOff:
        for number in _ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._came is not None:
            signal.raise_signal(self._came)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A part of the block that such a signal ends with KeyboardInterrupt, as does one that came before it."""
        self._may_interrupt = True
        try:
            if self._came is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._may_interrupt = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._came = number
        if self._may_interrupt:
            self._may_interrupt = False
            raise KeyboardInterrupt
