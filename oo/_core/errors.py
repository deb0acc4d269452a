"""The texts of errors: what the library says, and what the server said, shortened and masked."""

from __future__ import annotations

import math
import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime

from .._http.request import Request, timed_out
from .._http.response import JSON, Response, parse_json
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError
from .masking import Mask, cut_off, seen_values
from .pipeline import name_of

RETRYABLE = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
"""The statuses after which the same call may succeed: 501 and 505 say that the server will never do it."""

SOURCE = "X-OO-Source"
"""The header in which a gateway marks an answer as its own ("gateway") or as the API's ("upstream")."""

_TASKS = {
    "secret": "fetch the secret",
    "env": "fetch the environment",
    "proxy": "make the proxied call",
    "health": "check the server's health",
}

_LIBRARIES = frozenset({"aiohttp", "asyncio", "json", "requests", "socket", "ssl", "urllib3"})
_KEPT = 1 << 16  # bytes of an error's body
_LONGEST = 300  # characters of a server's own words in a message


def mask_of(request: Request) -> Mask:
    """Mask for text from the server: the token and every value seen. Not for our own text, which names the base
    URL: a fetched environment may contain that."""
    seen_values.add(request.context.token)
    return seen_values.mask()


def request_id(response: Response) -> str | None:
    """The answer's `X-Request-Id`, else the gateway's own `X-OO-Request-Id`, masked. None if neither is 1 to 128
    characters of visible ASCII.

    The API's support asks for the API's `X-Request-Id`; the audit finds a call by either.
    """
    for name in ("X-Request-Id", "X-OO-Request-Id"):
        value = response.headers.get(name, "")
        if re.fullmatch(r"[!-~]{1,128}", value):
            return mask_of(response.request).text(value)
    return None


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


def retry_after_ms(value: str | None) -> float | None:
    """Seconds of a `retry-after-ms`, which Azure and OpenAI send: a number of milliseconds above 0, else None."""
    if value is None or not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value.strip()):
        return None
    return float(value) / 1000 or None


def asked_wait(response: Response) -> tuple[float | None, bool]:
    """The seconds that a server asked to wait, or None; and whether it said so in milliseconds, which hold exactly."""
    exact = retry_after_ms(response.headers.get("retry-after-ms"))
    return (retry_after(response.headers.get("Retry-After")), False) if exact is None else (exact, True)


def stream_error(response: Response, data: str) -> DoubleOError:
    """The error that an API tells of within a stream that began well."""
    body = error_body(response.replace(body=data.encode("utf-8", "replace")))
    said = one_line(server_message(body))
    return ERROR_OF[response.request.operation](
        _message(response.request, "the stream broke off with an error" + (f": {said}" if said else "")),
        status=response.status,
        reason="answer",
        request_id=request_id(response),
        attempts=response.context.attempts,
        body=body,
    )


def error_body(response: Response) -> JSON:
    """The masked body: parsed if it is JSON, else as text. Of a body over 64 KiB, the beginning as text."""
    mask, data = mask_of(response.request), response.body
    if len(data) > _KEPT:
        return mask.head(data, _KEPT).decode("utf-8", "replace")
    try:
        return mask.json(parse_json(data))
    except (DoubleOError, RecursionError):
        return cut_off(mask.data(data), response.request.context.token).decode("utf-8", "replace")


def server_message(body: JSON) -> str:
    """The server's own words: `{"error": m}`, OpenAI's `{"error": {"message": m}}`, or text."""
    for name in ("error", "message", "detail"):
        if isinstance(body, dict):
            body = body.get(name, body)
    return body if isinstance(body, str) else ""


def one_line(words: str) -> str:
    """At most 300 characters of the words, on one line, for a message; "" for HTML."""
    if words.lstrip().startswith("<"):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in words[:_LONGEST]).split())


async def buffer_if_error(response: Response) -> Response:
    """Leave a 2xx response streaming; read any other whole, because the error quotes its body."""
    return response if 200 <= response.status < 300 else await response.buffered()


def to_call_error(error: Exception, request: Request) -> DoubleOError | None:
    """The error that the caller gets for `error`. None if it is a bug, not a failure of the call: raise it as it
    is."""
    ours = error if isinstance(error, DoubleOError) else translated(error)
    return None if ours is None else with_operation(ours, request)


def with_operation(error: DoubleOError, request: Request) -> DoubleOError:
    """`error` as the operation's own error. One that already is of the four kinds stays as it is."""
    if type(error) is not DoubleOError:
        return error
    own = error.become(ERROR_OF[request.operation])
    own.__cause__ = error.__cause__  # the caller's own, where its body could not be read
    own.args = (_message(request, str(error)),)
    # Retry sees no error of a stream that breaks off once it has begun.
    own.attempts = request.context.attempts or error.attempts
    return own


def overdue(request: Request) -> DoubleOError:
    """The operation's error for a call whose deadline has passed."""
    return with_operation(timed_out("deadline"), request)


def check_status(response: Response) -> None:
    """Raise the operation's error unless the status is a 2xx (RFC 9110, 15)."""
    if not 200 <= response.status < 300:
        raise _status_error(response)


def _status_error(response: Response) -> DoubleOError:
    status, request = response.status, response.request
    body = error_body(response)
    said = one_line(server_message(body))
    source = response.headers.get(SOURCE, "").strip().lower()
    kind, text = ERROR_OF[request.operation], f"{_WHO.get(source, 'the server')} answered {status}"
    if status == 401:
        if request.operation == "proxy" and source == "upstream":
            text = "the API refused the credential that the gateway sent (401)"
        else:
            kind, text = AuthenticationError, "the token was not accepted (401)"
            said = said.removeprefix("the token was not accepted").removeprefix(": ")
    hint = _HINTS.get(status // 100, "")
    if kind is AuthenticationError and not said:
        hint = "; is it whole, current and for this call?"
    if kind is AuthenticationError and request.context.token and "Authorization" not in request.headers:
        hint = "; the client's chain sent none: does it lack BearerAuth?"
    failure = kind(
        _message(request, text + (f": {said}" if said else "") + hint),
        status=status,
        reason="status",
        request_id=request_id(response),
        body=body if request.operation == "proxy" else None,
        retryable=status in RETRYABLE,
    )
    failure.retry_after, failure.retry_exactly = asked_wait(response)
    return failure


def answer_error(response: Response, said: JSON) -> DoubleOError:
    """The error that a 200 `{"error": said}` stands for."""
    request = response.request
    words = mask_of(request).text(server_message(said))
    accused = any(word in words.lower() for word in ("auth", "token"))
    kind = AuthenticationError if accused else ERROR_OF[request.operation]
    message = _message(request, f"the server answered with an error: {one_line(words)}")
    return kind(message, status=response.status, reason="answer", request_id=request_id(response))


def _message(request: Request, what: str) -> str:
    base = f" at {request.base_url}" if request.base_url else ""
    text = f"could not {_TASKS[request.operation]} ({request.method} {request.path}{base}): {what}"
    return Mask([request.context.token]).text(text)


_WHO = {"upstream": "the API", "gateway": "the gateway"}
_HINTS = {3: "; redirects are not followed: is the base URL right?"}


def translated(error: Exception) -> DoubleOError | None:
    """The DoubleOError for an error of a library or of the network; None for any other, which is a bug. It names
    the error's type and keeps its traceback, and nothing else of it."""
    kinds = type(error).__mro__
    # An OSError that names a file is not the network's.
    of_the_network = isinstance(error, OSError) and error.filename is None
    of_a_library = any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in kinds)
    if isinstance(error, Warning) or not (of_the_network or of_a_library):
        return None
    reason = _reason(error, " ".join(kind.__name__ for kind in kinds).lower())
    message = f"a middleware or the transport raised {name_of(type(error))}"
    failure = DoubleOError(message, reason=reason, retryable=reason in ("timeout", "connection"))
    return failure.with_traceback(error.__traceback__)


def _reason(error: Exception, names: str) -> str:
    if "timeout" in names:
        return "timeout"
    if "ssl" in names or "certificate" in names:
        return "tls"
    return "protocol" if isinstance(error, ValueError) else "connection"
