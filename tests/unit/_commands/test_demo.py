from __future__ import annotations

import pytest

from oo import _demo
from tests.support.command import Inside


@pytest.mark.parametrize(("went_well", "code"), [(True, 0), (False, 1)])
def test_its_exit_code_says_whether_all_went_well(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, went_well: bool, code: int
) -> None:
    monkeypatch.setattr(_demo, "run", lambda _say: went_well)
    assert inside("demo").exit_code == code
