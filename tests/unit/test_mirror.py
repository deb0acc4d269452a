"""Each file of oo/ has its unit tests where its name says, and neither its files nor its functions grow large."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = Path(__file__).parent
FILE_LINES = 350
FUNCTION_LINES = 40  # the docstring included

# Files without unit tests of their own, each with the reason.
UNTESTED = {
    "_version.py": "one string",
    "gateway/store/base.py": "a protocol: what keeps it is tested with the stores",
    "gateway/store/rows.py": "a protocol, as above",
    "cli.py": "what it does is seen of a process alone: tests/integration/test_without_extras.py",
}
# Unit tests that mirror no file.
OTHER_TESTS = {"test_mirror.py"}


def modules() -> list[str]:
    """The files of oo/ that hold more than a docstring."""
    return [
        str(path.relative_to(ROOT / "oo"))
        for path in sorted((ROOT / "oo").rglob("*.py"))
        if any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text("utf-8")).body)
    ]


def mirrored(module: str) -> Path:
    """Where the unit tests of a file are: `_core/io.py` in `_core/test_io.py`, `__init__.py` in `test_init.py`."""
    path = Path(module)
    return path.parent / f"test_{path.stem.strip('_')}.py"


def topics(test: Path) -> set[Path]:
    """The mirrors that a test file may belong to: `test_retry_budget.py` holds a part of `test_retry.py`."""
    words = test.stem.split("_")
    return {test.parent / f"{'_'.join(words[:count])}.py" for count in range(2, len(words) + 1)}


@pytest.mark.parametrize("module", modules())
def test_a_file_has_its_unit_tests_where_its_name_says(module: str) -> None:
    assert (UNIT / mirrored(module)).exists() is (module not in UNTESTED)


def test_every_unit_test_mirrors_a_file() -> None:
    mirrors = {mirrored(module) for module in modules()}
    tests = [path.relative_to(UNIT) for path in sorted(UNIT.rglob("test_*.py"))]
    assert [str(test) for test in tests if not topics(test) & mirrors and str(test) not in OTHER_TESTS] == []


def test_each_exception_is_needed() -> None:
    assert set(UNTESTED) <= set(modules())
    assert all((UNIT / name).exists() for name in OTHER_TESTS)


NAMED = sorted(set(re.findall(r"`((?:oo|tests)/[^`\s]*)`", (ROOT / "ARCHITECTURE.md").read_text("utf-8"))))


@pytest.mark.parametrize("path", NAMED)
def test_what_the_map_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_map_is_one_page() -> None:
    assert len(NAMED) > 30
    assert len((ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines()) <= 120


def too_long(source: str) -> list[str]:
    """What of a file is over a limit."""
    lines = len(source.splitlines())
    found = [f"{lines} lines"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            found += [f"{node.name}: {length} lines"] if length > FUNCTION_LINES else []
    return found


@pytest.mark.parametrize("module", modules())
def test_a_file_and_its_functions_are_short(module: str) -> None:
    assert too_long((ROOT / "oo" / module).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "over"),
    [
        ("a = 1\n" * 350, []),
        ("a = 1\n" * 351, ["351 lines"]),
        ("def f():\n" + "    a = 1\n" * 39, []),
        ("class A:\n    async def f(self):\n" + "        a = 1\n" * 40, ["f: 41 lines"]),
    ],
)
def test_what_is_over_a_limit_is_named(source: str, over: list[str]) -> None:
    assert too_long(source) == over
