from __future__ import annotations

import subprocess
import sys

import pytest

from oo import middleware


@pytest.mark.parametrize("name", middleware.__all__)
def test_each_name_is_there_once_it_is_asked_for(name: str) -> None:
    found = getattr(middleware, name)
    assert found.__name__ == name
    assert found.__module__ == f"oo.middleware.{middleware._HOME[name]}"


def test_a_name_that_is_none_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"'oo\.middleware' has no attribute 'Cahce'"):
        middleware.Cahce  # noqa: B018


def test_a_name_and_a_file_are_there_where_the_package_alone_was_imported() -> None:
    script = "import oo.middleware as m; print(dir(m) == sorted(m.__all__), m.retry.Retry is m.Retry)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_one_middleware_brings_no_other() -> None:
    script = "import sys, oo.middleware; oo.middleware.Retry; print([n for n in sys.modules if 'cache' in n])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "oo.middleware" not in done.stdout
    assert "cachetools" not in done.stdout
