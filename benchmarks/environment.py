"""The peers: double-o 0.2.1 and what it stands on, in an environment of their own, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PEERS = ("double-o==0.2.1", "aiohttp>=3.12.14", "azure-core>=1.30")


def peer_python() -> str:
    """The interpreter of the peers' environment, made in the user's cache on the first call."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "double-o-benchmarks" / f"py{sys.version_info.major}{sys.version_info.minor}"
    python = place / "bin" / "python"
    done = place / "complete"
    if not done.exists():
        print(f"making the peers' environment in {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True, stdout=sys.stderr)
        done.touch()
    return str(python)
