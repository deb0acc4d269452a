"""Whether a token has a use left: a pure function of its terms and of what has been counted."""

from __future__ import annotations

from .models import Denial, Token

_ROUNDING = 1e-6  # seconds that rounding may be off; it must not take the last use of a burst away


def spend(token: Token, used: int, tat: float, now: float) -> float | Denial:
    """Judge one more use of a token at `now` (seconds since 1970).

    `used` is the number of uses so far. `tat` is the theoretical arrival time of the generic cell rate algorithm
    (ITU-T I.371): when the token's whole burst is available again. Returns the new `tat`, or the Denial.
    """
    if token.uses is not None and used >= token.uses:
        return Denial("used up", token.id)
    if token.rate is None:
        return tat
    period = token.rate.seconds
    # The burst is at most one period away. A later `tat` comes from a clock that was set back.
    tat = min(max(tat, now), now + period) + period / token.rate.count
    wait = tat - period - now
    return Denial("rate", token.id, wait) if wait > _ROUNDING else tat
