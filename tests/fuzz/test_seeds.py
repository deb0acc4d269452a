"""The seeds of the fuzz targets, so that a target is known to work where there is no atheris."""

from __future__ import annotations

from types import ModuleType

import pytest

import oo
from tests.fuzz import proxied, requests, responses


@pytest.mark.parametrize("target", [requests, responses, proxied], ids=["requests", "responses", "proxied"])
def test_nothing_is_found_in_the_seeds(target: ModuleType) -> None:
    for seed in target.SEEDS:
        target.one(seed)


def test_the_seeds_come_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream: list[oo.Request] = []
    errors: list[oo.DoubleOError] = []
    check, check_error = requests._check_upstream, responses.check_error
    monkeypatch.setattr(requests, "_check_upstream", lambda request: (upstream.append(request), check(request)))
    monkeypatch.setattr(responses, "check_error", lambda error, of: (errors.append(error), check_error(error, of)))
    for target in (requests, responses, proxied):
        for seed in target.SEEDS:
            target.one(seed)
    assert len(upstream) > 5
    assert len(errors) > 50


def test_a_finding_is_told() -> None:
    with pytest.raises(AssertionError):
        responses.check_error(oo.SecretError(f"no {responses.TOKEN}", reason="status"), "secret")
    with pytest.raises(AssertionError):
        requests.check_inside("v1/%252e%252e/x", "/base/v1/")
    with pytest.raises(AssertionError):
        requests.check_silence(f"HTTP/1.1 200 OK\r\n\r\n{requests.KEY}".encode())
