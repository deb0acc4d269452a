from __future__ import annotations

import pytest

from oo.gateway.fronts.request_target import origin_form


@pytest.mark.parametrize(
    ("target", "form"),
    [
        ("http://gateway:3001/api/proxy/v1/x?a=1", "/api/proxy/v1/x?a=1"),
        ("HTTPS://elsewhere.example/api/secret", "/api/secret"),
        ("http://[::1]:3001/health", "/health"),
        ("http://gateway", "/"),
        ("http://gateway?a=1", "/?a=1"),
        ("http://gateway//x", "//x"),
        ("/api/secret", "/api/secret"),
        ("/api/proxy/http://x/y", "/api/proxy/http://x/y"),
    ],
)
def test_an_absolute_form_is_read_as_its_origin_form(target: str, form: str) -> None:
    assert origin_form(target) == form


@pytest.mark.parametrize(
    "target", ["", "*", "ftp://gateway/x", "gateway:443", "http:/x", "http:///x", "http://a@gateway/x", "http://a\\b/x"]
)
def test_what_is_none_stays_as_it_is(target: str) -> None:
    assert origin_form(target).startswith(target)
    assert not origin_form(target).startswith("/")
