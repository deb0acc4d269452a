"""The face of the package shows what it says. Which room imports which is held by import-linter (pyproject.toml)."""

from __future__ import annotations

import oo


def test_the_face_is_sorted_and_every_name_is_there() -> None:
    assert oo.__all__ == sorted(oo.__all__)
    assert len(set(oo.__all__)) == len(oo.__all__)
    assert all(getattr(oo, name) is not None for name in oo.__all__)
    assert dir(oo) == oo.__all__
