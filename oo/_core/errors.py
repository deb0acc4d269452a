"""What a server says of a failure, as an error may show it: short, and without a value that was sent or fetched."""

from __future__ import annotations

import math
import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime

from .._http.request import JSON, Request, Response, parse_json
from ..exceptions import DoubleOError
from .masking import Mask, StreamMask, met

_KEPT = 1 << 16  # bytes of an error's body
_SHORTEST = 8  # characters of a fetched value that is masked: an environment is full of ordinary words
_LONGEST = 300  # characters of a server's own words in a message


def meet(response: Response) -> None:
    """Remember what was fetched, for the errors to come."""
    operation = response.request.operation
    if operation == "secret" and len(response.value) >= _SHORTEST:
        met.add(response.value)
    elif operation == "env":
        for value in response.value.values():
            if len(value) >= _SHORTEST:
                met.add(value)


def mask_of(request: Request) -> Mask:
    """What a server's own words must not show: the token, and what was sent or fetched before. Our words may hold a
    base URL, which may well be in an environment that was fetched."""
    met.add(request.token)
    return met.mask()


def request_id(response: Response) -> str | None:
    """The answer's `X-Request-Id`, if it is one that a log line can hold."""
    value = response.headers.get("X-Request-Id", "")
    return mask_of(response.request).text(value) if re.fullmatch(r"[!-~]{1,128}", value) else None


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


def error_body(response: Response) -> JSON:
    """The body, parsed where it is JSON, else its text, of a large one the beginning; masked."""
    mask, data = mask_of(response.request), response.body
    if len(data) > _KEPT:
        # A token that the cut goes through would not be known by its half.
        return StreamMask(mask).feed(data[:_KEPT]).decode("utf-8", "replace")
    try:
        return mask.json(parse_json(data))
    except (DoubleOError, RecursionError):
        return mask.data(data).decode("utf-8", "replace")


def words_of(body: JSON) -> str:
    """The server's own words: `{"error": m}`, OpenAI's `{"error": {"message": m}}`, or text."""
    for name in ("error", "message", "detail"):
        if isinstance(body, dict):
            body = body.get(name, body)
    return body if isinstance(body, str) else ""


def short(words: str) -> str:
    """Words as a message can quote them, on one line; HTML not at all."""
    if words.lstrip().startswith("<"):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in words[:_LONGEST]).split())
