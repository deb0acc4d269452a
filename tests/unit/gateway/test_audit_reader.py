from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from oo.gateway.audit_reader import read
from tests.support.processes import until


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    assert list(read(path)) == []
    path.write_text('{"a": 1}\n{"b":')
    assert list(read(path)) == ['{"a": 1}']
    following = read(path, follow=True)
    assert next(following) == '{"a": 1}'
    with open(path, "a") as file:
        file.write(" 2}\n")
    assert next(following) == '{"b": 2}'
    following.close()  # type: ignore[attr-defined]  # it is a generator


def test_lines_of_any_shape_are_read_but_for_those_that_were_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    older = '{"time": "2026-01-01T00:00:00.000+00:00", "request_id": "a", "token_id": null, "outcome": "allowed"}'
    path.write_bytes(f'{older}\n{{"cut": \n\n{{"event": "end"}}\n'.encode() + b'{"a": "\xff"}\n')
    assert list(read(path)) == [older, '{"event": "end"}', '{"a": "�"}']


class Follower:
    """Follows a file on a thread, and keeps what it was given."""

    def __init__(self, path: Path, count: int) -> None:
        self.lines: list[str] = []
        self._reading = read(path, follow=True)
        self._count = count
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while len(self.lines) < self._count:
            self.lines.append(next(self._reading))

    def has(self, *lines: str) -> None:
        until(lambda: self.lines == list(lines))


def append(path: Path, line: str) -> None:
    with open(path, "a") as file:
        file.write(f"{line}\n")


@pytest.mark.parametrize("made_at_once", [True, False])
def test_follow_goes_on_in_the_file_that_takes_the_place(tmp_path: Path, made_at_once: bool) -> None:
    path, old = tmp_path / "audit", tmp_path / "audit.1"
    append(path, "1")
    follower = Follower(path, 4)
    follower.has("1")
    path.rename(old)
    append(old, "2")  # a gateway that has not noticed yet
    if not made_at_once:
        follower.has("1", "2")
    append(path, "3")
    follower.has("1", "2", "3")
    append(path, "4")
    follower.has("1", "2", "3", "4")


def test_follow_goes_on_in_a_file_that_was_truncated(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    append(path, '"a long line"')
    follower = Follower(path, 3)
    follower.has('"a long line"')
    os.truncate(path, 0)
    append(path, "2")
    follower.has('"a long line"', "2")
    append(path, "3")
    follower.has('"a long line"', "2", "3")


def test_follow_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    follower = Follower(path, 1)
    append(path, "1")
    follower.has("1")
