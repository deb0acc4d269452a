"""Canaries: values that must never be told, the spellings in which servers echo them, and a watch over what leaves.

What is looked for is found by undoing every spelling, not by spelling it: nothing here is shared with `oo._masking`.
"""

from __future__ import annotations

import base64
import codecs
import gc
import html
import json
import logging
import os
import pickle
import random
import re
import string
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest

from oo.gateway.tokens import new_token

CASES = int(os.environ.get("OO_LEAK_CASES", "0"))
"""Generated cases for each test; 0 for the short form of the suite."""
SEED = int(os.environ.get("OO_LEAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
"""What the cases are drawn from: a failure names it."""

FILLING = "a" * 64
"""What makes an answer long: a search may pass over it."""

_WINDOW, _STEP = 10, 5  # characters: of 14 of a value's in a row, one window at least is whole
_ASCII = "\"'/+=\\&<>%~`;,:"
_OTHER = "é€ß漢🔑"


def shaped() -> str:
    """A canary in the shape of the gateway's tokens."""
    return new_token()


def awkward(rng: random.Random, other: str = "") -> str:
    """A long canary whose characters every encoder escapes in its own way; `other` are characters beyond ASCII."""
    marks = list(_ASCII + other)
    rng.shuffle(marks)
    letters = string.ascii_letters + string.digits
    return "".join("".join(rng.choices(letters, k=5)) + mark for mark in marks) + "".join(rng.choices(letters, k=5))


def foreign(rng: random.Random) -> str:
    """An awkward canary with characters beyond ASCII, as a secret may be, and a token may not."""
    return awkward(rng, _OTHER)


def _u(value: str, form: str) -> str:
    units = value.encode("utf-16-be", "surrogatepass")
    return "".join(form.format(units[n] << 8 | units[n + 1]) for n in range(0, len(units), 2))


def _percent(value: str, form: str) -> str:
    return "".join(form.format(byte) for byte in value.encode())


def _base64(value: str, before: str, encode: Callable[[bytes], bytes]) -> str:
    return encode((before + value + "|tail").encode()).decode()


def _some(value: str, escaped: str) -> str:
    """JSON, with the characters that one encoder or other escapes as well."""
    return "".join(_u(each, "\\u{:04X}") if each in escaped else json.dumps(each)[1:-1] for each in value)


def _mixed(value: str) -> str:
    forms: list[Callable[[str], str]] = [lambda c: json.dumps(c)[1:-1], lambda c: _u(c, "\\u{:04x}")]
    return "".join(forms[n % 2](each) for n, each in enumerate(value))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "percent-encoded": lambda value: quote(value, safe=""),
    "percent-encoded in small letters": lambda value: re.sub("%..", lambda m: m[0].lower(), quote(value, safe="")),
    "percent-encoded but for slashes": quote,
    "percent-encoded throughout": lambda value: _percent(value, "%{:02X}"),
    "percent-encoded throughout in small letters": lambda value: _percent(value, "%{:02x}"),
    "as a form": quote_plus,
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON as PHP has it": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "JSON as Go has it": lambda value: _some(value, "<>&").replace("\\u003C", "\\u003c"),
    "JSON as Gson has it": lambda value: _some(value, "<>&='"),
    "JSON as .NET has it": lambda value: _some(value, "<>&'\"+`" + _OTHER),
    "JSON throughout": lambda value: _u(value, "\\u{:04x}"),
    "JSON throughout in capitals": lambda value: _u(value, "\\u{:04X}"),
    "JSON here and there": _mixed,
    "HTML": html.escape,
    "HTML in numbers": lambda value: "".join(f"&#{ord(each)};" for each in value),
    "HTML in hex numbers": lambda value: "".join(f"&#x{ord(each):X};" for each in value),
    **{
        f"base64{name} behind {len(before)}": (
            lambda value, before=before, encode=encode: _base64(value, before, encode)  # type: ignore[misc]
        )
        for name, encode in (("", base64.b64encode), (" for URLs", base64.urlsafe_b64encode))
        for before in ("", "x", "xy")
    },
    "base64 in a query": lambda value: quote(_base64(value, "x", base64.b64encode), safe=""),
    "base64 as PHP has it": lambda value: _base64(value, "x", base64.b64encode).replace("/", "\\/"),
}
"""How a value may come back."""


class Canaries:
    """Values that must be nowhere. `in_(what)` names those that are, and how; it never shows them."""

    def __init__(self, **values: str) -> None:
        self._parts: list[tuple[str, list[str], list[str]]] = []
        for name, value in values.items():
            windows = [value[at : at + _WINDOW] for at in range(0, max(1, len(value) - _WINDOW + 1), _STEP)]
            coded = [core for window in windows for core in _cores(window)]
            self._parts.append((name, windows, coded))

    def in_(self, what: str | bytes) -> list[str]:
        """The names of the canaries that are in there in any spelling, in whole or in part."""
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else what
        text = text.replace(FILLING, "")
        views = {text, _unescaped(text), unquote(text), unquote_plus(text), html.unescape(text)}
        views |= {_unescaped(view) for view in views}
        found = []
        for name, windows, coded in self._parts:
            if any(window in view for view in views for window in windows):
                found.append(name)
            elif any(core in view for view in views for core in coded):
                found.append(f"{name} in base64")
        return found


def _cores(text: str) -> Iterator[str]:
    # What base64 makes of it wherever it stands, its outer characters left out.
    for offset in range(3):
        data = b"\0" * offset + text.encode()
        whole = base64.b64encode(data[: len(data) - len(data) % 3]).decode()[4 if offset else 0 :]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\(.)", re.DOTALL
)


def _unescaped(text: str) -> str:
    """With the escapes undone that JSON and Python's reprs have."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_undone, text)
    try:
        # A repr of bytes has UTF-8 in escapes of its own.
        return plain + "\n" + plain.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return plain


def _undone(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1]
    plain = codecs.decode(match[0], "unicode_escape")
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def told(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    """Everything that an error tells to whoever prints, formats, inspects or pickles it, or what is behind it."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    for each in chain:
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield f"str of {type(each).__name__}", str(each)
        yield "repr", repr(each)
        yield "args", repr(each.args)
        for name, value in vars(each).items():
            yield f"its {name}", f"{value!r}"
            yield f"what its {name} holds", "\n".join(_held(value))
            yield f"its {name}, as JSON", json.dumps(value, default=repr, ensure_ascii=False)
        chain += [each.__cause__, each.__context__]
    yield "traceback", "".join(traceback.TracebackException.from_exception(error).format(chain=True))
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        yield f"pickle {protocol}", pickle.dumps(error, protocol)


def _held(value: object, depth: int = 3) -> Iterator[str]:
    # A foreign error keeps the request that it is about, and that its headers.
    yield repr(value)
    inside = value if isinstance(value, Mapping) else getattr(value, "__dict__", None)
    if depth and isinstance(inside, Mapping):
        for each in (*inside.keys(), *inside.values()):
            yield from _held(each, depth - 1)


class Watch(logging.Handler):
    """Sees what leaves this process by itself while its block runs: each record of each logger, each warning, what
    threads and finalizers could not raise."""

    def __init__(self) -> None:
        super().__init__(1)
        self._texts: list[tuple[str, str]] = []
        self._lock_texts = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter("%(name)s %(message)s").format(record)
        self.note(f"log of {record.name}", f"{text} {record.args!r} {record.msg!r}")

    def note(self, where: str, text: str) -> None:
        with self._lock_texts:
            self._texts.append((where, text))

    def take(self) -> list[tuple[str, str]]:
        """What was seen since the last look."""
        with self._lock_texts:
            taken, self._texts = self._texts, []
        return taken


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A Watch while the block runs, with every logger of the process at its most talkative."""
    watch = Watch()
    loggers = [logging.getLogger(), *filter(_is_logger, list(logging.Logger.manager.loggerDict.values()))]
    for logger in loggers:
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "level", 1)
        if logger is logging.root or not logger.propagate:  # type: ignore[union-attr]  # loggers all
            monkeypatch.setattr(logger, "handlers", [watch])  # type: ignore[union-attr]  # as above
        logger.manager._clear_cache()  # type: ignore[union-attr]  # as above
    monkeypatch.setattr(sys, "unraisablehook", lambda args: watch.note("unraisable", _raised(args)))
    monkeypatch.setattr(threading, "excepthook", lambda args: watch.note("thread", _raised(args)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_args, **_kwargs: watch.note("warning", f"{message} {message!r}")
        try:
            yield watch
        finally:
            gc.collect()
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]  # logging's own


def _is_logger(each: object) -> bool:
    return isinstance(each, logging.Logger)


def _raised(args: Any) -> str:
    lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
    return "".join(lines) + repr(getattr(args, "object", ""))


def processes() -> Iterator[tuple[int, bytes]]:
    """The command line of every process, as `ps` shows it."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(place.parent.name), place.read_bytes()
        except OSError:  # it has ended
            pass


def environment_of(pid: int) -> bytes:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()
