"""Checks of settings: a wrong one is a ValueError where it is given, not where it is first used."""

from __future__ import annotations

from typing import TypeGuard

LONGEST = 10**9
"""The longest time that may be given, in seconds. Locks, sockets and sleeps refuse ten times that."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number: a float, or an int that is not a bool and fits a float."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() < 1000
    return isinstance(value, float)


def check_whole(name: str, value: object, least: int) -> None:
    """ValueError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more")


def check_seconds(name: str, value: object, *, none: bool = False) -> None:
    """ValueError unless `value` is a positive number of seconds, at most LONGEST. With `none`, None is allowed too."""
    if none and value is None:
        return
    if not is_number(value) or not 0 < value <= LONGEST:
        raise ValueError(f"{name} must be a positive number of seconds, at most {LONGEST:,}")
