"""The errors of Double-O.

    DoubleOError
     |- SecretError            a secret could not be fetched
     |- EnvError               an environment could not be fetched
     |- ProxyError             a proxied call (or health) failed
     `- AuthenticationError    the token was not accepted

Whatever goes wrong in an operation surfaces as one of the four; the error of a foreign library never does.
No error holds a token or a secret: not in its text, its args, its cause or its context.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

Operation = Literal["secret", "env", "proxy", "health"]
"""What a call is for. It decides which error a failure becomes."""

E = TypeVar("E", bound="DoubleOError")


class DoubleOError(Exception):
    """What every error of this library is.

    Attributes:
        status: the HTTP status, where there was an answer.
        reason: one word: "timeout" (one attempt took too long), "deadline" (the call did), "connection", "tls",
            "status", "protocol" (the answer made no sense), "size", "answer" (the server said no in a 200),
            "token", "argument" (refused before any I/O), "closed".
        request_id: the server's `X-Request-Id` (of an API's answer, the API's own), else a gateway's `X-OO-Request-Id`.
        retry_after: seconds the server asked to wait.
        retry_exactly: whether it said so in milliseconds (`retry-after-ms`): then that holds even where the schedule
            of retries would wait longer.
        attempts: how many requests were sent.
        unsent: whether it is known that nothing was sent, since no connection could be made.
        body: the API's own error (`ProxyError`), parsed where it is JSON of up to 64 KiB, else a text.
        retryable: whether the same call may succeed later.
    """

    retry_exactly = False
    unsent = False

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        reason: str = "unknown",
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        body: Any = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.body = body
        self.retryable = retryable

    def become(self, kind: type[E]) -> E:
        """The same failure as another error of the tree, its traceback kept."""
        other = kind(*self.args)
        other.__dict__.update(self.__dict__)
        return other.with_traceback(self.__traceback__)


class SecretError(DoubleOError):
    """A secret could not be fetched."""


class EnvError(DoubleOError):
    """An environment could not be fetched, loaded or exported."""


class ProxyError(DoubleOError):
    """A proxied call, or a health check, failed."""


class AuthenticationError(DoubleOError):
    """The token was not accepted."""


ERROR_OF: dict[Operation, type[DoubleOError]] = {
    "secret": SecretError,
    "env": EnvError,
    "proxy": ProxyError,
    "health": ProxyError,
}
"""The error of each operation."""
