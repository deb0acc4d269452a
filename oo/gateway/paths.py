"""Where a gateway keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def data_dir() -> Path:
    """`$OO_HOME`, or the platform's data directory if it is not set."""
    named = os.environ.get("OO_HOME")
    return Path(named) if named else user_data_path("double-o", appauthor=False)
