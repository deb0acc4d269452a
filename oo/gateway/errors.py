"""The gateway's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from ..exceptions import DoubleOError

CALLER_LEFT = 499
"""The status of a call whose caller has left, in the audit and the logs: nginx's, which nobody is sent."""


def unanswered_status(error: BaseException) -> int:
    """The status of a call that ended with an error and has no answer: CALLER_LEFT, or 500 where the gateway failed."""
    # A ConnectionError is the caller's; an upstream's is a DoubleOError.
    return CALLER_LEFT if isinstance(error, (asyncio.CancelledError, ConnectionError)) else 500


class StoreError(Exception):
    """A store cannot do what was asked. The text says why and holds no secret."""


class StoreUnavailable(StoreError):
    """A store cannot be asked at the moment, and nothing that was read before may be used. `unsure`: what was asked may
    have been done all the same, and is not to be repeated by whoever counts."""

    def __init__(self, text: str, *, unsure: bool = False) -> None:
        super().__init__(text)
        self.unsure = unsure


class StoreMoved(StoreUnavailable):
    """A store says that it has moved to another place."""


class IntegrityError(StoreError):
    """A sealed record cannot be opened: it was changed, moved, or sealed with another key."""


class UnknownKey(IntegrityError):
    """A record is sealed with a data key that this process has not unwrapped."""


class GatewayError(Exception):
    """A call is answered with `status` by the gateway itself. The caller is told `message`, the audit `outcome`."""

    def __init__(self, status: int, message: str, outcome: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.outcome = outcome
        self.headers = {} if headers is None else headers


class UnknownKind(StoreError):
    """There is no such kind of credentials here. `kind` is its name, "" where the text may be something else, a key
    say."""

    def __init__(self, kind: str, kinds: Iterable[str]) -> None:
        called = f" {kind!r}" if kind else ""
        super().__init__(
            f"no kind of credentials{called} is known here: there are {', '.join(kinds)}, and those of the plugins "
            "that --plugins names"
        )
        self.kind = kind


class Unauthorized(GatewayError):
    """The token opens nothing here. Whoever holds a genuine one is told the `reason`; of any other the answer is the
    same, so that it doesn't tell what exists."""

    def __init__(self, outcome: str, reason: str = "", *, said: str = "the token was not accepted") -> None:
        super().__init__(401, said + (f": {reason}" if reason else ""), outcome, {"WWW-Authenticate": "Bearer"})


class NoToken(Unauthorized):
    """No token was sent, which tells nobody what exists. `place` is where it belongs."""

    def __init__(self, place: str) -> None:
        super().__init__("no token", f"it belongs in {place}", said="no token was sent")


class AuditFailed(GatewayError):
    """The audit is required, and the line of a call cannot be written."""

    def __init__(self) -> None:
        super().__init__(503, "the gateway cannot write its audit", "audit failed", {"Retry-After": "5"})


class Conflict(GatewayError):
    """An idempotency key was used with another request (`status` 422), its first call did not end in time (409), or it
    was made and its answer is not there (410)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message, "idempotency conflict")


class UpstreamFailed(GatewayError):
    """The upstream gave no answer, or no whole one."""

    def __init__(self, what: str, error: DoubleOError) -> None:
        slow = error.reason in ("timeout", "deadline")
        super().__init__(504 if slow else 502, f"{what}: {error}", f"upstream {error.reason}")
