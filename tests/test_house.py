"""The house: each room imports only from rooms above it, and the face shows what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import oo

ROOT = Path(oo.__file__).parent
# Of the design's section 10; a file that it does not name stands where it is needed first.
ROOMS = (
    "_version _settings exceptions _messages _io _pipeline _masking middleware hooks _plugins transports _paths "
    "_operations _steering _dotenv _sse _streaming _client _functions server testing _demo _commands cli __init__"
).split()


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports, when it is loaded or when it is called."""
    depth = len(path.relative_to(ROOT).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.partition(".")[0]} if node.module else {each.name for each in node.names} & {*ROOMS}
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("oo."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {each.name.split(".")[1] for each in node.names if each.name.startswith("oo.")}
    return found


def test_each_room_imports_only_from_rooms_above_it() -> None:
    files = sorted(ROOT.rglob("*.py"))
    assert {room(path) for path in files} == set(ROOMS)
    below = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in files
        for other in imported(path)
        if ROOMS.index(other) > ROOMS.index(room(path))
    ]
    assert below == []


def test_the_face_is_sorted_and_every_name_is_there() -> None:
    assert oo.__all__ == sorted(oo.__all__)
    assert len(set(oo.__all__)) == len(oo.__all__)
    assert all(getattr(oo, name) is not None for name in oo.__all__)
    assert dir(oo) == oo.__all__
