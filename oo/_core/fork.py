"""What a fork must not leave locked: a lock that another thread held stays locked for ever in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """What holds a lock."""

    def after_fork(self) -> None:
        """In a forked child: replace held locks and reset half-changed state."""


_kept: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register(holder: ForkAware) -> None:
    """Call `holder.after_fork()` in every child, for as long as the holder lives."""
    _kept.add(holder)


def _after_fork() -> None:
    for holder in list(_kept):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
