"""A warning points at whoever called the library, however deep inside it was raised."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

LIBRARY = """
import warnings
from oo._core.warnings import outside

def warn(depth):
    if depth:
        warn(depth - 1)
    else:
        warnings.warn("of the library", UserWarning, stacklevel=outside())
"""


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize(("module", "inside"), [("oo", True), ("oo.room.file", True), ("oooo", False), ("a.oo", False)])
def test_a_warning_names_the_line_of_the_caller(module: str, inside: bool, depth: int) -> None:
    library: dict[str, Any] = {"__name__": module}
    exec(compile(LIBRARY, "library.py", "exec"), library)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        library["warn"](depth)
    assert [each.filename for each in caught] == [__file__ if inside else "library.py"]
