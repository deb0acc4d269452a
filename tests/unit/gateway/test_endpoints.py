"""The gateway's own paths."""

from __future__ import annotations

import pytest

from oo.gateway.endpoints import endpoint_of, is_own, with_slash


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


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("/api/proxy", "/api/proxy/"),
        ("/api/proxy?a=b", "/api/proxy/?a=b"),
        ("/api/proxy/v1", "/api/proxy/v1"),
        ("/api/proxyx", "/api/proxyx"),
        ("/api/secret?x=/api/proxy", "/api/secret?x=/api/proxy"),
    ],
)
def test_the_base_url_of_an_sdk_is_meant_with_its_slash(target: str, meant: str) -> None:
    assert with_slash(target) == meant
