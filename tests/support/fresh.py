"""A fresh virtual environment: what pip installs there from wheels, and no more of this environment than that needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from zipfile import Path as ZipPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def build(sources: Iterable[Path], into: Path) -> list[Path]:
    """The wheels that pip builds of source trees."""
    into.mkdir()
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(into), *map(str, sources))
    return sorted(into.glob("*.whl"))


def metadata(wheel: Path) -> Distribution:
    """What a wheel says of itself."""
    inside = ZipPath(wheel)
    info = next(each for each in inside.iterdir() if each.name.endswith(".dist-info"))
    return PathDistribution(info)


class Fresh:
    """An environment at `home` that holds the wheels, and copies of what the first of them requires with `extras`."""

    patience = PATIENCE

    def __init__(self, home: Path, wheels: list[Path], extras: Iterable[str] = ()) -> None:
        self._make(home)
        for each in _required(metadata(wheels[0]), extras):
            _copy(each, self.site)
        _pip("--python", str(self.python), "install", "--no-index", *map(str, wheels))

    def _make(self, home: Path) -> None:
        self.home = home
        venv.create(home / "env", symlinks=os.name != "nt")
        self.scripts = home / "env" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / "python"
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site = Path(self.run("-c", code).stdout.strip())

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run its Python, away from the checkout and from this machine's settings."""
        return self.command(str(self.python), *arguments, env=env)

    def command(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OO_"))}
        return subprocess.run(
            command, cwd=self.home, env={**clean, **(env or {})}, capture_output=True, text=True, timeout=self.patience
        )


class Beside(Fresh):
    """An environment at `home` that has all of this one, and beside it what pip finds for some requirements: what is
    too large, or of another version, for a developer's own."""

    patience = 4 * PATIENCE  # what is large takes long to be imported

    def __init__(self, home: Path, requirements: Iterable[str]) -> None:
        self._make(home)
        (self.site / "beside.pth").write_text(sysconfig.get_path("purelib"))
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-compile"]
        _done([*pip, *requirements])


def _pip(*arguments: str) -> None:
    at = next(n for n, each in enumerate(arguments) if each in ("wheel", "install")) + 1
    _done([sys.executable, "-m", "pip", *arguments[:at], "--quiet", "--no-deps", *arguments[at:]])


def _done(command: list[str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def _required(of: Distribution, extras: Iterable[str]) -> Iterator[Distribution]:
    waiting, seen = [(of, frozenset(extras))], set()
    while waiting:
        one, wanted = waiting.pop()
        for requirement in map(Requirement, one.requires or ()):
            if requirement.marker and not any(requirement.marker.evaluate({"extra": each}) for each in wanted | {""}):
                continue
            step = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if step in seen:
                continue
            seen.add(step)
            # `double-o[all]` requires double-o with other extras.
            itself = step[0] == canonicalize_name(of.name)
            found = of if itself else distribution(requirement.name)
            waiting.append((found, step[1]))
            if not itself:
                yield found


def _copy(one: Distribution, into: Path) -> None:
    for file in one.files or ():
        if ".." not in file.parts:
            target = into / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(one.locate_file(file)), target)
