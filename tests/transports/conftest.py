"""The transports read the environment: none of this machine's."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith(("_proxy", "_ca_bundle", "netrc")):
            monkeypatch.delenv(name)
