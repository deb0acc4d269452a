"""The seeds of the fuzz targets, so that a target is known to work where there is no atheris."""

from __future__ import annotations

from types import ModuleType

import pytest

from . import requests, responses


@pytest.mark.parametrize("target", [requests, responses], ids=["requests", "responses"])
def test_nothing_is_found_in_the_seeds(target: ModuleType) -> None:
    for seed in target.SEEDS:
        target.one(seed)


def test_a_finding_is_told() -> None:
    with pytest.raises(AssertionError):
        requests.check_inside("v1/%252e%252e/x", "/base/v1/")
    with pytest.raises(AssertionError):
        requests.check_silence(f"HTTP/1.1 200 OK\r\n\r\n{requests.KEY}".encode())
