from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from oo.gateway.shared_counts import CELLS, SharedCounts, added_up, bury, pids
from tests.support.waiting import PATIENCE

KILLED = """
import os, sys
from pathlib import Path
from oo.gateway.shared_counts import SharedCounts
counts = SharedCounts(Path(sys.argv[1]))
at = counts.name("calls", "a")
for _ in range(1000):
    counts.cells[at] += 1
print(os.getpid(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_has_counted_is_kept(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, list(added_up(tmp_path))) == (-9, [(("calls", "a"), [1000.0], True)])
    assert pids(tmp_path) == [int(done.stdout)]
    bury(tmp_path, int(done.stdout))
    assert pids(tmp_path) == []
    assert list(added_up(tmp_path)) == [(("calls", "a"), [1000.0], False)]


def test_numbers_stand_in_a_row_under_their_name_and_belong_to_their_process(tmp_path: Path) -> None:
    one, other = SharedCounts(tmp_path), SharedCounts(tmp_path)  # two with one pid, as after a restart of the machine
    first, second = one.name("h", "x", cells=3), one.name("c")
    one.cells[first + 2] += 2.5
    one.cells[second] += 1
    other.cells[other.name("c")] += 4
    assert sorted(added_up(tmp_path)) == [
        (("c",), [1.0], True),
        (("c",), [4.0], True),
        (("h", "x"), [0.0, 0.0, 2.5], True),
    ]
    assert pids(tmp_path) == [os.getpid()]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    one.close()
    other.close()


def test_what_has_no_room_is_not_counted_and_breaks_nothing(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path)
    named = 0
    while at := counts.name(f"n{named}", cells=100):
        named += 1
    assert at + 100 < CELLS
    assert 600 < named < CELLS // 100
    assert counts.name("too many at once", cells=1000) == 0
    counts.cells[at] += 1
    assert all(numbers == [0.0] * 100 for _, numbers, _ in added_up(tmp_path))
    counts.close()


def test_a_name_that_is_not_whole_yet_is_passed_over(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path)
    counts.name("whole")
    os.write(counts._names, b'[["hal')
    assert [key for key, _, _ in added_up(tmp_path)] == [("whole",)]
    counts.close()
