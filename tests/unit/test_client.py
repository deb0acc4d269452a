"""`oo.client`: where 0.2 had its client and functions."""

from __future__ import annotations

import oo
import oo.client


def test_each_name_is_the_one_of_oo() -> None:
    assert {name: getattr(oo.client, name) for name in oo.client.__all__} == {
        name: getattr(oo, name) for name in oo.client.__all__
    }
    assert {"Client", "get_secret", "proxy", "chat"} <= set(oo.client.__all__)
