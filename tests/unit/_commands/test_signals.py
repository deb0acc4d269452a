"""What would end the process waits for the end of the block, or interrupts the part that may be."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from oo._commands._signals import PutOff
from tests.support.command import Inside, listed
from tests.support.fresh import ROOT

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def came() -> Iterator[list[int]]:
    """The signals that were let through."""
    found: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: found.append(number)) for number in ENDING}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_waits_for_the_end_of_the_block(number: int, came: list[int]) -> None:
    with PutOff():
        signal.raise_signal(number)
        assert came == []
    assert came == [number]
    signal.raise_signal(number)
    assert came == [number] * 2


def interrupted(signals: PutOff, number: int) -> None:
    with signals.interruptible():
        signal.raise_signal(number)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_part_of_the_block_may_be_interrupted(number: int, moment: str, came: list[int]) -> None:
    with PutOff() as signals:
        if moment == "before":
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            interrupted(signals, number)
        signal.raise_signal(number)
        assert came == []
    assert came == [number]


def test_a_signal_that_is_ignored_stays_so(came: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with PutOff() as signals, signals.interruptible():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert came == []


FILES = {
    str(ROOT / "oo" / name)
    for name in (
        "_commands/token.py",
        "_commands/_signals.py",
        "_commands/_output.py",
        "gateway/services.py",
        "gateway/vault.py",
    )
}


class Interrupting:
    """Has SIGINT come at the n-th line of FILES that this thread runs while the block does."""

    def __init__(self, line: int) -> None:
        self._left = line
        self._before = sys.gettrace()

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                signal.raise_signal(signal.SIGINT)
        return self._trace

    def __enter__(self) -> Interrupting:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(self._before)

    @property
    def came(self) -> bool:
        """Whether there was such a line."""
        return self._left <= 0


def test_wherever_ctrl_c_lands_no_token_is_open_that_was_not_printed(full: Inside, inside: Inside) -> None:
    # The first one imports what the command needs, whose lines would be counted among its own.
    printed = {json.loads(inside("token", "issue", "--secret", "key", "--json").stdout)["id"]}
    line, came = 0, True
    while came:
        line += 1
        with Interrupting(line) as interrupt:
            result = inside("token", "issue", "--secret", "key", "--json")
        came = interrupt.came
        if result.stdout:
            printed.add(json.loads(result.stdout)["id"])
        assert result.exit_code == (130 if came else 0)
    rows = listed(full("token", "list", "--json"))
    assert line > 30
    assert {row["id"] for row in rows if row["state"] == "open"} <= printed
    assert {row["state"] for row in rows} == {"open", "revoked"}
