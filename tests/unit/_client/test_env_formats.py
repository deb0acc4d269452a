"""What each format writes is what its reader reads, or it is refused for that format alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from oo._client.env_formats import FORMATS, Format, format_env

PIECES = [
    "'",
    '"',
    "`",
    "\\",
    "\\n",
    "\\\\",
    "$",
    "${X}",
    "#",
    ";",
    " ",
    "\n",
    "\r",
    "\t",
    "=",
    "a",
    "b",
    "é",
    "🙈",
    "!",
]
SHELLS_OWN = ("RANDOM", "PPID", "UID", "OPTIND")


def values() -> dict[str, str]:
    chance = random.Random(7)
    drawn = ["".join(chance.choice(PIECES) for _ in range(chance.randint(0, 6))) for _ in range(1000)]
    fixed = ["", "a b", "it's", "a$b", "pa$$w\"o'rd", "a\nb", "a\\nb", "C:\\x\\", "\ufeffa", "a#b", " a ", "#a", "''"]
    return {f"V{number}": value for number, value in enumerate([*fixed, *drawn])}


def by_shell(shell: str) -> Callable[[Path], dict[str, str]]:
    def read(path: Path) -> dict[str, str]:
        command = [shell, "-c", f'set -a; . "$0"; {shutil.which("env")} -0', str(path)]
        done = subprocess.run(command, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
        assert done.stderr == b""
        return dict(each.decode().split("=", 1) for each in done.stdout.split(b"\0")[:-1])

    return read


def by_node(call: str) -> Callable[[Path], dict[str, str]]:
    def read(path: Path) -> dict[str, str]:
        code = f"const path = process.argv[1]; {call}"
        done = subprocess.run(["node", "-e", code, str(path)], capture_output=True, check=True, env=dict(os.environ))
        found: dict[str, str] = json.loads(done.stdout)
        return found

    return read


def by_docker(path: Path) -> dict[str, str]:
    """As docker's documentation has `--env-file`: a line is NAME=VALUE, `#` begins a comment, nothing is unquoted."""
    lines = [line.removesuffix(b"\r") for line in path.read_bytes().split(b"\n")]
    assert all(len(line) < 64 * 1024 for line in lines)
    kept = [line.decode().lstrip(" \t") for line in lines if line and not line.lstrip().startswith(b"#")]
    return dict(line.split("=", 1) for line in kept)


def by_systemd(path: Path) -> dict[str, str]:
    """As systemd.exec(5) has `EnvironmentFile=`: quotes may stand around a value, in double ones a backslash undoes
    what a shell's would, and a variable with a control character is left out."""
    found, text, at = {}, path.read_text("utf-8"), 0
    while at < len(text):
        name, _, rest = text[at:].partition("=")
        at, value = at + len(name) + 1, ""
        if rest.startswith('"'):
            at += 1
            while text[at] != '"':
                if text[at] == "\\":
                    at += 1
                    value += "" if text[at] == "\n" else text[at] if text[at] in '"\\`$' else f"\\{text[at]}"
                else:
                    value += text[at]
                at += 1
            assert text[at : at + 2] == '"\n'
            at += 2
        else:
            value = rest.partition("\n")[0]
            assert not set(value) & set("\"'\\")
            assert value == value.strip()
            at += len(value) + 1
        if not any((ord(character) < 32 and character not in "\t\n") or character == "\x7f" for character in value):
            found[name] = value
    return found


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
READERS: list[object] = [
    pytest.param("sh", by_shell("sh"), id="sh by sh"),
    pytest.param("sh", by_shell("bash"), id="sh by bash"),
    pytest.param("dotenv", by_shell("sh"), id="dotenv by sh"),
    pytest.param(
        "node", by_node("process.loadEnvFile(path); console.log(JSON.stringify(process.env))"), marks=needs_node
    ),
    pytest.param(
        "node",
        by_node("console.log(JSON.stringify(require('util').parseEnv(require('fs').readFileSync(path, 'utf8'))))"),
        marks=needs_node,
    ),
    pytest.param("json", lambda path: json.loads(path.read_bytes()), id="json"),
    pytest.param("docker", by_docker, id="docker"),
    pytest.param("systemd", by_systemd, id="systemd"),
]


@pytest.mark.parametrize(("form", "read"), READERS)
def test_every_value_is_read_back_exactly_or_refused(
    form: Format, read: Callable[[Path], Mapping[str, str]], tmp_path: Path
) -> None:
    taken = {}
    for name, value in values().items():
        with contextlib.suppress(ValueError):
            format_env({name: value}, form)
            taken[name] = value
    path = tmp_path / "file"
    path.write_bytes(format_env(taken, form).encode())
    found = read(path)
    assert {name: found.get(name) for name in taken} == taken
    assert len(taken) > 500


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        ("sh", "pa$$w\"o'rd", True),
        ("json", "pa$$w\"o'rd", True),
        ("node", "pa$$w\"o'rd", True),
        ("docker", "pa$$w\"o'rd", True),
        ("systemd", "pa$$w\"o'rd", True),
        ("dotenv", "pa$$w\"o'rd", False),
        ("sh", "a\rb", True),
        ("json", "a\rb", True),
        ("docker", "a\rb", True),
        ("docker", "a\r", False),
        ("docker", "a\nb", False),
        ("docker", "x" * 65536, False),
        ("docker", "x" * 65000, True),
        ("node", "a\rb", False),
        ("node", "'\"`\n", False),
        ("node", "a'\"`#", False),
        ("node", "a'\"`", True),
        ("node", "`'\\n", False),
        ("systemd", "a\nb\tc", True),
        ("systemd", "a\rb", False),
        ("systemd", "a\x7f", False),
        ("systemd", "a\uffff", False),
        ("systemd", "a\ufdd0", False),
    ],
)
def test_what_a_format_cannot_hold_is_refused_for_it_alone(form: Format, value: str, written: bool) -> None:
    if written:
        assert format_env({"A": value}, form)
    else:
        with pytest.raises(ValueError, match="value of A"):
            format_env({"A": value}, form)


@pytest.mark.parametrize("name", SHELLS_OWN)
@pytest.mark.parametrize("form", FORMATS)
def test_a_name_that_a_shell_sets_itself_is_refused_for_shells(form: Format, name: str) -> None:
    if form in ("dotenv", "sh"):
        with pytest.raises(ValueError, match=name):
            format_env({name: "1"}, form)
    else:
        assert name in format_env({name: "1"}, form)
