"""Whether a token has a use left, now and in all: pure functions of its terms and of what has been counted."""

from __future__ import annotations

import math
from typing import NamedTuple

from .models import Denial, Rate, Token

ROUNDING = 1e-6
"""Seconds that rounding may be off; it must not take the last call of a burst away."""


class Counted(NamedTuple):
    """What was counted of a token: its uses, and what its rate's last charge gave."""

    used: int
    tat: float


def has_use(token: Token, used: int) -> bool:
    """Whether a token that was used `used` times has a use left."""
    return token.uses is None or used < token.uses


def charge(token: Token, tat: float, now: float) -> float | Denial:
    """Judge one more call of a token by its rate, at `now` (seconds since 1970).

    `tat` is the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371): when the token's whole burst
    is available again. Returns the new `tat`, or the Denial.
    """
    if token.rate is None:
        return tat
    period = token.rate.seconds
    # The burst is at most one period away. A later `tat` comes from a clock that was set back.
    tat = min(max(tat, now), now + period) + period / token.rate.count
    wait = tat - period - now
    return token.denied("rate", wait) if wait > ROUNDING else tat


def calls_at_once(rate: Rate, tat: float, now: float) -> int:
    """How many calls in a row a rate lets through at `now`, with the `tat` that `charge` gave last."""
    free = rate.seconds - max(tat - now, 0)
    return max(0, math.floor((free + ROUNDING) * rate.count / rate.seconds))
