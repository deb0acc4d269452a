from __future__ import annotations

import subprocess
import sys

import pytest

from oo import _demo
from tests.support.waiting import PATIENCE, unhurried


def test_the_demo_shows_each_claim_and_exits_0() -> None:
    done = subprocess.run([sys.executable, "-m", "oo.cli", "demo"], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, unhurried(done.stderr.splitlines())) == (0, [])
    assert done.stdout.count("  ok ") == 10
    for words in ("(1 request)", "a cached hit (0 requests)", "two 503s (3 attempts)", "the caller never did"):
        assert done.stdout.count(words) == 2, words


def test_a_claim_that_does_not_hold_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo._Upstream, "fail", lambda self, times: None)
    lines: list[str] = []
    assert _demo.run(lines.append) is False
    assert [line for line in lines if "FAILED" in line and "503" in line]
