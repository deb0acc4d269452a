"""A fork: what was registered and lives is told in the child, and in the child alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PROGRAM = """
import gc, os, threading
from oo._core.fork import register

told = []

class Holder:
    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()
    def after_fork(self):
        self.lock = threading.Lock()
        told.append(self.name)

first, second, gone = Holder("first"), Holder("second"), Holder("gone")
for holder in (first, first, second, gone):
    register(holder)
del gone, holder
gc.collect()
first.lock.acquire()
child = os.fork()
if child == 0:
    os._exit(0 if sorted(told) == ["first", "second"] and first.lock.acquire(blocking=False) else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), told, first.lock.locked())
"""


def test_a_child_gives_up_the_locks_and_its_parent_keeps_them() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("0 [] True\n", "")
