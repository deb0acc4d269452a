"""The gateway's own paths."""

from __future__ import annotations

import pytest

from oo.gateway.endpoints import endpoint_of, is_own


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("GET", "/api/secret", "secret"),
        ("GET", "/api/env", "env"),
        ("GET", "/health", "health"),
        ("HEAD", "/health", "health"),
        ("GET", "/ready", "health"),
        ("POST", "/ready", "other"),
        ("HEAD", "/api/secret", "other"),
        ("POST", "/api/env", "other"),
        ("GET", "/api/secret/", "other"),
        ("GET", "/", "other"),
        ("POST", "/api/proxy/", "proxy"),
        ("DELETE", "/api/proxy/v1/x", "proxy"),
        ("GET", "/api/proxy", "other"),
    ],
)
def test_a_path_and_its_method_say_what_is_asked_for(method: str, path: str, endpoint: str) -> None:
    assert endpoint_of(method, path) == endpoint


@pytest.mark.parametrize(
    ("path", "own"), [("/api/secret", True), ("/health", True), ("/api/proxy/x", False), ("", False)]
)
def test_its_own_paths_are_told_from_others(path: str, own: bool) -> None:
    assert is_own(path) is own
