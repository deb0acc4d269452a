from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oo.gateway.store.turns import Turn
from tests.support.waiting import PATIENCE

WAITS = """
import sys, time
from pathlib import Path
from oo.gateway.store.turns import Turn
turn = Turn(Path(sys.argv[1]))
with turn:
    print("got", flush=True)
    sys.stdin.read()
"""


def waiting(path: Path) -> subprocess.Popen[str]:
    """A process that takes a turn, says so, and keeps it until its input ends."""
    command = [sys.executable, "-c", WAITS, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_turn_is_one_process_at_a_time_and_ends_with_it(tmp_path: Path) -> None:
    turn, got = Turn(tmp_path / "f"), threading.Event()

    def take() -> None:
        with turn:
            got.set()

    with waiting(tmp_path / "f") as other:
        assert said(other) == "got\n"
        thread = threading.Thread(target=take)
        thread.start()
        assert not got.wait(0.2)
        other.kill()
        assert got.wait(PATIENCE)
        thread.join()
    turn.close()
    assert [path.name for path in tmp_path.iterdir()] == ["f-turn"]
    assert (tmp_path / "f-turn").stat().st_mode & 0o777 == 0o600


def test_who_came_first_goes_first(tmp_path: Path) -> None:
    order: list[int] = []
    holds = Turn(tmp_path / "f")
    threads = []

    def take(number: int) -> None:
        with Turn(tmp_path / "f"):
            order.append(number)

    with holds:
        for number in range(5):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            threads[-1].join(0.1)  # until it waits
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(5))
    holds.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a folder has no mode there")
def test_where_no_file_can_be_made_everybody_goes_at_once(tmp_path: Path) -> None:
    turns = [Turn(tmp_path / "missing" / "f") for _ in range(2)]
    with turns[0], turns[1]:
        pass
    for turn in turns:
        turn.close()


def test_where_files_cannot_be_locked_everybody_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unknown(*_: object) -> None:
        raise OSError(os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", unknown)
    turn = Turn(tmp_path / "f")
    with turn, turn:
        pass
