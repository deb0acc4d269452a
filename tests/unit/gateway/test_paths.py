from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from oo.gateway.paths import data_dir


def test_the_data_directory_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OO_HOME", str(tmp_path))
    assert data_dir() == tmp_path


@pytest.mark.parametrize("named", [None, ""])
def test_else_it_is_the_platforms(monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.delenv("OO_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("OO_HOME", named)
    assert data_dir() == platformdirs.user_data_path("double-o", appauthor=False)
