"""Types of options: files to read, and values that a rule of the gateway parses."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..gateway.models import Rate

T = TypeVar("T")


class WholeNumber(click.IntRange):
    """A whole number in a range. What is none is answered with the range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of a text."""
        return _within(self, "whole number", super().convert, value, param, ctx)


class Number(click.FloatRange):
    """A number in a range. What is none, nan too, is answered with the range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of a text."""
        return _within(self, "number", super().convert, value, param, ctx)


class FilePath(click.Path):
    """A path with `~` expanded, because a shell does not expand it in --token-file=~/token."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path with `~` expanded, checked as click checks it."""
        return super().convert(os.path.expanduser(value), param, ctx)


def text_file(name: str) -> str:
    """The text of a file, or of standard input for `-`, without a byte order mark."""
    from .._core.files import decode_text

    try:
        with opened(name) as file:
            data = file.read()
    except OSError as error:
        raise click.BadParameter(f"{name}: {error.strerror or error}") from None
    try:
        return decode_text(data)
    except UnicodeError:
        pass
    raise click.ClickException("what was given is not UTF-8 text")


def opened(name: str) -> IO[bytes]:
    """A file to read, or standard input for `-`. OSError if it cannot be read or is closed."""
    if name != "-":
        return open(os.path.expanduser(name), "rb")
    if sys.stdin is None or sys.stdin.closed:
        raise OSError("standard input is closed")
    return sys.stdin.buffer


def duration(text: str) -> float:
    """The seconds of a text such as 24h."""
    from ..gateway.rules import parse_duration

    return _ruled(parse_duration, text)


def rate(text: str) -> Rate:
    """The rate of a text such as 60/m."""
    from ..gateway.rules import parse_rate

    return _ruled(parse_rate, text)


def instant_ago(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """The instant of a text such as 90m or 2026-01-31T12:00, as the audit writes it."""
    from ..gateway.audit_filter import instant

    return None if text is None else _ruled(lambda given: instant(given, time.time()), text)


def _within(kind: click.IntRange | click.FloatRange, what: str, convert: Callable[..., Any], *given: Any) -> Any:
    try:
        number = convert(*given)
    except click.BadParameter:
        number = math.nan
    if not math.isnan(number):
        return number
    bounds = f"above {kind.min}" if kind.max is None else f"from {kind.min} to {kind.max}"
    raise click.BadParameter(f"{given[0]!r} is no {what} {bounds}", given[2], given[1])


def _ruled(rule: Callable[[str], T], text: str) -> T:
    from ..gateway.errors import StoreError

    try:
        return rule(text)
    except StoreError as error:
        why = str(error)
    raise click.BadParameter(why)
