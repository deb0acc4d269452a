from __future__ import annotations

import subprocess
import sys

import pytest

from oo import _demo
from oo._plugins import plugins
from tests.support.command import Inside
from tests.support.waiting import PATIENCE, unhurried


def test_the_demo_shows_each_claim_and_exits_0() -> None:
    done = subprocess.run([sys.executable, "-m", "oo.cli", "demo"], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, unhurried(done.stderr.splitlines())) == (0, [])
    assert done.stdout.startswith("starting ")  # before anything takes its time
    assert "Cache -> Retry -> AttemptCounter -> ErrorMapping -> BearerAuth" in done.stdout
    assert done.stdout.count("  ok ") == 20
    for words in (
        *("(1 request)", "a cached hit (0 requests)", "(the plugin counted 3 attempts)", "the caller never did"),
        *("Bearer ***", "Hello| to| you.", "X-Team: blue", "denied (403)", "revoked"),
    ):
        assert done.stdout.count(words) == 2, words
    assert done.stdout.endswith("  oo init\n  oo secret set openai-key\n  oo serve\n")


def test_the_commands_that_it_ends_with_are_commands(inside: Inside) -> None:
    for command in _demo._NEXT:
        path = [word for word in command.split()[1:] if word.isalpha()]
        assert inside(*path, "--help").exit_code == 0


def test_it_leaves_no_plugin_behind() -> None:
    before = [found.name for found in plugins.found()]
    assert _demo.run(lambda _line: None) is True
    assert [found.name for found in plugins.found()] == before


def test_a_claim_that_does_not_hold_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo._Upstream, "fail", lambda self, times: None)
    lines: list[str] = []
    assert _demo.run(lines.append) is False
    assert [line for line in lines if "FAILED" in line and "503" in line]
