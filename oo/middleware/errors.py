"""ErrorMapping: whatever went wrong below becomes the operation's error, without a token or a secret in it."""

from __future__ import annotations

import math
import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime

from .._masking import Mask, StreamMask, met
from .._messages import JSON, Request, Response, parse_json
from .._pipeline import CallNext
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError
from ._foreign import translated

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which the same call may succeed."""

_TASKS = {
    "secret": "fetch the secret",
    "env": "fetch the environment",
    "proxy": "make the proxied call",
    "health": "check the server's health",
}
_KEPT = 1 << 16  # bytes of an error's body that is no JSON
_SHORTEST = 8  # characters of a value that is masked in later errors: an environment is full of ordinary words
_LONGEST = 300  # characters of a server's own words in a message


class ErrorMapping:
    """Turns a transport's failures, statuses and unreadable answers into the four errors. Stands inside Retry, so
    that each attempt fails with an error that says whether another may help."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        met.add(request.token)
        try:
            response = await call_next(request)
            if response.stream is not None:
                response = await settled(response)
            response.read()
            _meet(response)
            return response
        except Exception as error:
            failure = failure_of(error, request)
            if failure is None:
                raise
        raise failure


async def settled(response: Response) -> Response:
    """A streamed response as it is where it succeeded; where it did not, its body read whole, for the error."""
    return response if 200 <= response.status < 300 else await response.whole()


def failure_of(error: Exception, request: Request) -> DoubleOError | None:
    """What the caller is to get for `error`; None where it is no failure of the call but a bug, to travel on whole."""
    ours = error if isinstance(error, DoubleOError) else translated(error)
    return None if ours is None else mapped(ours, request)


def mapped(error: DoubleOError, request: Request) -> DoubleOError:
    """`error` as the operation's own; one that already is of the four stays as it is."""
    if type(error) is not DoubleOError:
        return error
    own = error.become(ERROR_OF[request.operation])
    own.args = (_message(request, str(error)),)
    # Retry sees no error of a stream that breaks off once it has begun.
    own.attempts = request.extensions.get("attempts", error.attempts)
    return own


def overdue(request: Request) -> DoubleOError:
    """The operation's error for a call whose deadline has passed."""
    message = _message(request, "the deadline of the call passed")
    return ERROR_OF[request.operation](message, reason="deadline")


def check_status(response: Response) -> None:
    """Raise the operation's error where the status is no 2xx (RFC 9110, 15)."""
    status, request = response.status, response.request
    if 200 <= status < 300:
        return
    body = _error_body(response)
    kind = AuthenticationError if status == 401 else ERROR_OF[request.operation]
    said = _short(_words(body))
    text = f"the server answered {status}" + (f": {said}" if said else "") + _HINTS.get(status // 100, "")
    if status == 401:
        text = f"the token was not accepted (401){f': {said}' if said else ''}; is it whole, current and for this call?"
    raise kind(
        _message(request, text),
        status=status,
        reason="status",
        request_id=request_id(response),
        retry_after=retry_after(response.headers.get("Retry-After")),
        body=body if request.operation == "proxy" else None,
        retryable=status in RETRYABLE,
    )


def answer_error(response: Response, said: JSON) -> DoubleOError:
    """The error that a 200 `{"error": said}` stands for."""
    request = response.request
    words = _mask(request).text(_words(said))
    accused = any(word in words.lower() for word in ("auth", "token"))
    kind = AuthenticationError if accused else ERROR_OF[request.operation]
    message = _message(request, f"the server answered with an error: {_short(words)}")
    return kind(message, status=response.status, reason="answer", request_id=request_id(response))


def request_id(response: Response) -> str | None:
    """The answer's `X-Request-Id`, if it is one that a log line can hold."""
    value = response.headers.get("X-Request-Id", "")
    return _mask(response.request).text(value) if re.fullmatch(r"[!-~]{1,128}", value) else None


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds of a `Retry-After` (RFC 9110, 10.2.3: digits, or a date), never negative; None where it is neither."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        # asctime's form names no zone, and means UTC (RFC 9110, 5.6.7).
        at = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    seconds = at - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _message(request: Request, what: str) -> str:
    base = f" at {request.base_url}" if request.base_url else ""
    text = f"could not {_TASKS[request.operation]} ({request.method} {request.path}{base}): {what}"
    return Mask([request.token]).text(text)


def _meet(response: Response) -> None:
    operation = response.request.operation
    if operation == "secret" and len(response.value) >= _SHORTEST:
        met.add(response.value)
    elif operation == "env":
        for value in response.value.values():
            if len(value) >= _SHORTEST:
                met.add(value)


def _mask(request: Request) -> Mask:
    """What a server's own words must not show: the token, and what was sent or fetched before. Our words may hold a
    base URL, which may well be in an environment that was fetched."""
    met.add(request.token)
    return met.mask()


def _error_body(response: Response) -> JSON:
    mask = _mask(response.request)
    try:
        return mask.json(parse_json(response.body))
    except (DoubleOError, RecursionError):
        pass
    data = response.body
    # A token that the cut goes through would not be known by its half.
    data = mask.data(data) if len(data) <= _KEPT else StreamMask(mask).feed(data[:_KEPT])
    return data.decode("utf-8", "replace")


def _words(body: JSON) -> str:
    """The server's own words: `{"error": m}`, OpenAI's `{"error": {"message": m}}`, or text."""
    for name in ("error", "message", "detail"):
        if isinstance(body, dict):
            body = body.get(name, body)
    return body if isinstance(body, str) else ""


def _short(words: str) -> str:
    """Words as a message can quote them, on one line; HTML not at all."""
    if words.lstrip().startswith("<"):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in words[:_LONGEST]).split())


_HINTS = {3: "; redirects are not followed: is the base URL right?"}
