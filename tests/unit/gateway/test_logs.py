from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from oo.gateway.logs import ACCESS, FIELDS, JSONLines, TextLines
from tests.support.waiting import PATIENCE

PROGRAM = """
import logging, sys, warnings
from oo.gateway import logs
logs.configure(sys.argv[1], "error")
logs.configure(sys.argv[1], sys.argv[2])
logs.say("version 1, workers 2", {"version": "1"})
logging.getLogger("oo.gateway").info("an info")
logging.getLogger("oo.gateway").warning("a warning\\nin two lines")
logging.getLogger("other").info("not ours")
warnings.warn("a warning of Python's")
"""


def written(log_format: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format, level], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("info", ["oo: version 1, workers 2", "oo: an info", "oo: a warning in two lines"]),
        ("warning", ["oo: version 1, workers 2", "oo: a warning in two lines"]),
        ("error", ["oo: version 1, workers 2"]),
    ],
)
def test_there_is_a_line_for_each_from_the_level_on(level: str, lines: list[str]) -> None:
    *found, last = written("text", level)
    assert found == lines
    assert "a warning of Python's" in last


def test_as_json_each_line_is_an_object() -> None:
    version, info, warning, _ = (json.loads(line) for line in written("json", "info"))
    assert (version["version"], version["message"]) == ("1", "version 1, workers 2")
    assert (info["level"], info["logger"], info["message"]) == ("info", "oo.gateway", "an info")
    assert warning["message"] == "a warning in two lines"
    assert info["time"].endswith("+00:00")
    assert isinstance(info["pid"], int)


def test_further_fields_are_of_the_json_alone() -> None:
    record = logging.makeLogRecord({"name": ACCESS, "msg": "a line", FIELDS: {"status": 200}})
    assert TextLines().format(record) == "oo: a line"
    assert json.loads(JSONLines().format(record))["status"] == 200
