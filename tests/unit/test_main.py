from __future__ import annotations

import subprocess
import sys

import oo


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "oo", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"oo, version {oo.__version__}\n", "")
