"""The names that a server does not set by itself: a net, which fits on a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from oo._client import unsafe_names as _unsafe_names

TOKEN = "a-token-for-an-environment"
URL = "http://localhost:3001"
CANARY = "gleaming-canary-77"


def test_the_list_of_what_steers_fits_on_a_page() -> None:
    assert len(Path(_unsafe_names.__file__).read_text().splitlines()) <= 66
    assert not [name for name in _unsafe_names._NAMES if name.startswith(_unsafe_names._PREFIXES)]
    assert all(name == name.upper() for name in (*_unsafe_names._NAMES, *_unsafe_names._PREFIXES))


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "path",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH",
        "NODE_OPTIONS",
        "BASH_ENV",
        "IFS",
        "https_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSLKEYLOGFILE",
        "OO_BASE_URL",
        "OO_PLUGINS",
        "LUA_INIT_5_4",
    ],
)
def test_what_loads_code_or_moves_traffic_is_unsafe(name: str) -> None:
    assert _unsafe_names.is_unsafe(name)


@pytest.mark.parametrize(
    "name",
    [
        "GIT_TOKEN",
        "ANSIBLE_VAULT_PASSWORD",
        "HOMEBREW_GITHUB_API_TOKEN",
        "JAVA_OPTS",
        "DATABASE_URL",
        "API_KEY",
        "PATHS",
        "PROXY_PASSWORD",
        "O",
        "LD",
        "PGPASSWORD",
        "DOCKER_PASSWORD",
        "NPM_TOKEN",
    ],
)
def test_what_people_keep_is_not(name: str) -> None:
    assert not _unsafe_names.is_unsafe(name)
