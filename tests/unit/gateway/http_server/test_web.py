"""What is used of aiohttp.web."""

from __future__ import annotations

import subprocess
import sys

import pytest
from aiohttp import web as whole

from oo.gateway.http_server import web
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize("name", web.__all__)
def test_a_name_is_that_of_aiohttp_web(name: str) -> None:
    assert getattr(web, name) is getattr(whole, name)


def test_nothing_is_imported_of_applications_routes_and_files() -> None:
    script = "import sys, oo.gateway.http_server.web; print(*(name for name in sys.modules if 'aiohttp.web' in name))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert {"aiohttp.web", "aiohttp.web_app", "aiohttp.web_urldispatcher"}.isdisjoint(done.stdout.split())
