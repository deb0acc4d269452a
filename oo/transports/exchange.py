"""One request and its answer: until when they may take, and over what connection they go."""

from __future__ import annotations

import threading
import time

from .._http.body import Body
from .._http.request import Request

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS"})


class Exchange:
    """A request that is sent, and its answer. `until` is the monotonic instant by which both must be over; it may be
    moved. `fresh` asks for a new connection. `reused` tells whether it went over a kept one, `answered` whether a byte
    came back."""

    __slots__ = ("answered", "fresh", "reused", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.fresh = self.reused = self.answered = False

    def left(self) -> float:
        """Seconds left; TimeoutError where there are none, for a socket that has bytes would go on giving them."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def renew(self, request: Request, began: float) -> bool:
        """Whether a request whose connection was lost is to be sent once more, over a new one: a kept connection may
        have been closed as the request went out (RFC 9112, 9.3.1). The timeline notes it."""
        if self.fresh or not self.reused or self.answered or not is_repeatable(request):
            return False
        self.fresh, self.reused = True, False
        note_resent(request, began)
        return True


def note_resent(request: Request, began: float) -> None:
    """Note in the timeline that a request, first sent at the instant `began`, is sent once more."""
    context = request.context
    before = context.timeline[-1][1] if context.timeline else 0.0
    context.timeline.append(("resent", before + time.monotonic() - began))


def is_repeatable(request: Request) -> bool:
    """Whether a request may be sent twice: its method or its key makes it idempotent, and its body is still there."""
    body = request.body
    replayable = not isinstance(body, Body) or body.replayable or not body.begun
    return replayable and (request.method in _IDEMPOTENT or "Idempotency-Key" in request.headers)


class _Current(threading.local):
    exchange = Exchange(float("inf"))
    sending = False


thread = _Current()
"""`thread.exchange` is what this thread sends, `thread.sending` whether it has yet to get an answer's head."""
