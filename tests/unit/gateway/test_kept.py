from __future__ import annotations

import pytest

from oo.gateway.kept import is_kept

KEPT = {*range(200, 300), 302, 303, 400, 405, 410, 413, 414, 415, 422}


@pytest.mark.parametrize("status", range(100, 600))
def test_what_a_repeat_cannot_better_is_kept(status: int) -> None:
    assert is_kept(status) is (status in KEPT)
