"""The environments of what is measured beside us: each a folder of its own in the user's cache, made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


class NotInstalledError(Exception):
    """Why an environment could not be made, in one line."""


def peer_python() -> str:
    """The interpreter of double-o 0.2.1, beside what both stand on, in the versions that we run on."""
    common = (f"{name}=={version(name)}" for name in ("requests", "urllib3", "aiohttp", "uvloop"))
    return python_with("", ("double-o==0.2.1", "azure-core==1.41.0", *common))


def python_with(name: str, requirements: Sequence[str]) -> str:
    """The interpreter of an environment that holds those."""
    place = _cache() / f"{name}py{sys.version_info.major}{sys.version_info.minor}"
    python = place / "bin" / "python"
    if not _is_made(place, requirements):
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(python), "-m", "pip", "install", "-q", *requirements)
        _note(place, requirements)
    return str(python)


def node_modules(name: str, requirements: Sequence[str]) -> Path:
    """The folder into which npm has installed those, which are what is asked for and what that may need itself."""
    place = _cache() / name
    if not _is_made(place, requirements):
        place.mkdir(parents=True, exist_ok=True)
        asked, *needed = (each.rpartition("@")[::2] for each in requirements)
        (place / "package.json").write_text(json.dumps({"dependencies": dict([asked]), "overrides": dict(needed)}))
        _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(place))
        _note(place, requirements)
    return place / "node_modules"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "double-o-benchmarks"


def _is_made(place: Path, requirements: Sequence[str]) -> bool:
    done = place / "complete"
    if done.exists() and done.read_text().split() == list(requirements):
        return True
    print(f"making the environment {place}", file=sys.stderr)
    return False


def _note(place: Path, requirements: Sequence[str]) -> None:
    (place / "complete").write_text("\n".join(requirements))


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        raise NotInstalledError(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NotInstalledError(reason(error)) from error


def reason(error: subprocess.CalledProcessError) -> str:
    """The last that a command has said."""
    said = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode()
    return (said.strip().splitlines() or [str(error)])[-1]
