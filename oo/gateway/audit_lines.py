"""The lines of the audit: JSON of bounded length, one for the beginning of a call and one for its end.

What a caller wrote (method, path) and what an owner wrote (label) are cut where they are long, and a token in them
is replaced.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from urllib.parse import urlsplit

from .._http.request import TOKEN, without_tokens
from .._http.urls import unescaped
from .context import GatewayContext
from .endpoints import PREFIX, is_own

PATH = 512
"""Characters of a path that a line holds."""
LABEL = 128
"""Characters of a label that a line holds."""

_METHOD = 32  # characters
_UPSTREAM_ID = re.compile(r"[!#-\[\]-~]{1,128}")  # needs no escape in JSON
_NO_SIZES = '"bytes_in": null, "bytes_out": null, "upstream": null, "upstream_request_id": null'


def begin_line(context: GatewayContext) -> str:
    """The line of a call that goes on to use a credential or a value."""
    known = context.audited = _call(context)
    passed = (time.monotonic() - context.started) * 1000
    began = '"outcome": "begun", "status": null'
    return f'{_clock()}"begin", "request_id": "{context.id}", {known}, {began}, "ms": {passed:.1f}, {_NO_SIZES}}}\n'


def end_line(context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None) -> str:
    """The line of a call that has ended. `upstream_id` is the upstream's own name of the call."""
    known = context.audited or _call(context)
    passed = (time.monotonic() - context.started) * 1000
    theirs = "null" if upstream_id is None else _upstream_id(upstream_id)
    return (
        f'{_clock()}"end", "request_id": "{context.id}", {known}, "outcome": {_quoted(outcome)}, "status": {status}, '
        f'"ms": {passed:.1f}, "bytes_in": {context.bytes_in}, "bytes_out": {bytes_out}, '
        f'"upstream": {_quoted(context.upstream)}, "upstream_request_id": {theirs}}}\n'
    )


def refusal(context: GatewayContext, outcome: str, status: int) -> str:
    """What the refusals that share a line have in common, as JSON without its braces."""
    known = _fields(context.token_id, context.label, context.endpoint, context.kind, context.target)
    return f'{known}, "outcome": {_quoted(outcome)}, "status": {status}'


def shared_line(refused: str, count: int) -> str:
    """One line for `count` refusals of which each is the same `refusal`."""
    return f'{_clock()}"end", "request_id": null, {refused}, "ms": null, {_NO_SIZES}, "count": {count}}}\n'


def lost_line(count: int) -> str:
    """The line that stands for `count` lines that could not be written."""
    lost = f'{_fields(None, "", "other", None, None)}, "outcome": "lost", "status": null, "ms": null'
    return f'{_clock()}"lost", "request_id": null, {lost}, {_NO_SIZES}, "count": {count}}}\n'


def cut_line(count: int) -> str:
    """The line of a gateway that ends, and cuts `count` calls."""
    cut = f'{_fields(None, "", "other", None, None)}, "outcome": "cut", "status": null, "ms": null'
    return f'{_clock()}"cut", "request_id": null, {cut}, {_NO_SIZES}, "count": {count}}}\n'


def shown(text: str, most: int) -> str:
    """A text as a line may hold it: `most` characters, without a token, however often that is escaped (RFC 3986)."""
    text = text[: 2 * most]
    plain = unescaped(text)
    if TOKEN.search(text) or TOKEN.search(plain):
        text = without_tokens(plain)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _call(context: GatewayContext) -> str:
    """What is the same at the beginning and at the end of a call, as JSON without its braces."""
    return _fields(
        context.token_id,
        context.label,
        context.endpoint,
        context.kind,
        context.target,
        context.method[:_METHOD],
        # What is kept by its value stays small. A stranger may have written a token into it, in whatever spelling.
        context.path[: 2 * PATH] if context.token_id is not None else place(context.path),
        context.peer,
        context.forwarded_for,
    )


def place(path: str) -> str | None:
    """The gateway's own place that a path names, and nothing of what is behind it; None for another path."""
    if is_own(path):
        return path
    return f"{PREFIX}***" if path.startswith(PREFIX) else None


@lru_cache(1024)  # most calls repeat an earlier one
def _fields(
    token_id: str | None,
    label: str,
    operation: str,
    kind: str | None,
    target: str | None,
    method: str | None = None,
    path: str | None = None,
    peer: str | None = None,
    forwarded_for: str | None = None,
) -> str:
    if path is not None:
        # A target in absolute form may hold a password.
        path = shown(urlsplit(path).path if "://" in path and not path.startswith("/") else path, PATH)
    fields = {
        "token_id": token_id,
        "label": shown(label, LABEL) or None,
        "operation": operation,
        "kind": None if target is None else kind,
        "target": target,
        "method": method,
        "path": path,
        "peer": peer or None,
        "forwarded_for": forwarded_for,
    }
    return json.dumps(fields)[1:-1]


@lru_cache(256)
def _quoted(text: str | None) -> str:
    return json.dumps(text)


def _upstream_id(value: str) -> str:
    if not _UPSTREAM_ID.fullmatch(value):
        return "null"
    return f'"{shown(value, 128) if "oo_" in value or "%" in value else value}"'


def _clock() -> str:
    second, millisecond = divmod(time.time_ns() // 1_000_000, 1000)
    return f'{{"time": "{_second(second)}.{millisecond:03}+00:00", "event": '


@lru_cache(1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
