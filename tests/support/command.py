"""The command, inside this process and as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from oo._commands import oo
from oo._commands._vault import with_vault
from tests.support.waiting import PATIENCE

CANARY = "sk-canary-0123456789"
Inside: TypeAlias = Callable[..., Result]
Process: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vault's place, with no vault in it yet."""
    place = tmp_path / "home"
    monkeypatch.setenv("OO_HOME", str(place))
    for name in ("OO_MASTER_KEY", "OO_MASTER_KEY_FILE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def inside() -> Inside:
    """Runs the command here: quick, but with no process, signals or terminal of its own."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002  # as subprocess calls it
        return CliRunner().invoke(oo, arguments, input=input, prog_name="oo", catch_exceptions=False)

    return run


@pytest.fixture
def vault(home: Path, inside: Inside) -> Inside:
    """Runs a command on a vault that is there, and that has to succeed."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002  # as above
        result = inside(*arguments, input=input)
        said = [] if arguments[:2] == ("token", "issue") else result.stderr.splitlines()  # which says the id
        assert (result.exit_code, said) == (0, [])
        return result

    run("init")
    return run


@pytest.fixture
def process() -> Process:
    """Runs the command as a process."""

    def run(*arguments: str, input: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:  # noqa: A002
        command = [sys.executable, "-m", "oo.cli", *arguments]
        environ = {**os.environ, **env}
        stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environ, **stdin)

    return run


def value_of(name: str) -> str | None:
    """What a secret is, as the vault has it."""
    return with_vault(lambda vault: vault.secret(name))


def environment_of(name: str) -> dict[str, str] | None:
    """What an environment is, as the vault has it."""
    return with_vault(lambda vault: vault.environment(name))


def listed(result: Result) -> Any:
    """What a command printed as JSON."""
    return json.loads(result.stdout)


def refused(result: Result | subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line of a command that was refused."""
    found = result.exit_code if isinstance(result, Result) else result.returncode
    assert (found, result.stdout) == (code, "")
    assert result.stderr.startswith("oo: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr.removeprefix("oo: ").rstrip("\n")
