"""The README's FastAPI examples, served by uvicorn on a real port."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi
import pytest
import requests
import uvicorn

import oo.testing
from tests.support.fresh import ROOT
from tests.support.waiting import PATIENCE, unhurried

LIFESPAN = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from oo import AsyncClient


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with AsyncClient(retries=3, backoff_factor=0.5) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/greeting")
async def greeting(request: Request):
    secret = await request.app.state.client.get_secret("YOUR_TOKEN", cache_ttl=300)
    return {"length": len(secret)}
"""

# As the README of the 0.2 series had it.
ON_EVENT = """
from fastapi import FastAPI
from oo import AsyncClient

app = FastAPI()
client = AsyncClient(retries=3, backoff_factor=0.5)

@app.on_event("shutdown")
async def shutdown():
    await client.close()

@app.get("/secret/{token}")
async def get_secret(token: str):
    secret = await client.get_secret(token, cache_ttl=300)
    return {"secret": secret}
"""

# As it is now: a token in a URL would stand in logs.
WITHOUT_TOKEN_IN_URL = ON_EVENT.partition("@app.get")[0] + """
@app.get("/greeting")
async def greeting():
    secret = await client.get_secret("YOUR_TOKEN", cache_ttl=300)
    return {"length": len(secret)}
"""

needs_on_event = pytest.mark.skipif(
    not hasattr(fastapi.FastAPI, "on_event"), reason="this FastAPI has no on_event any more"
)


@contextmanager
def served(module: dict[str, Any]) -> Iterator[str]:
    """The URL of a module's app while the block runs; after it, the app has been shut down in order."""
    server = uvicorn.Server(uvicorn.Config(module["app"], http="h11", ws="none", lifespan="on", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive()


def loaded(source: str) -> dict[str, Any]:
    """The module that a source makes, outside any event loop."""
    module: dict[str, Any] = {"__name__": "app"}
    exec(compile(source, "app.py", "exec"), module)
    return module


def loaded_on_event(source: str = ON_EVENT) -> dict[str, Any]:
    with pytest.warns(DeprecationWarning, match="on_event is deprecated"):
        return loaded(source)


def get(url: str) -> tuple[int, Any]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=PATIENCE)
        return answer.status_code, answer.json() if answer.ok else None


def is_closed(client: oo.AsyncClient) -> bool:
    """Whether a call is refused because the client was closed."""
    with pytest.raises(oo.DoubleOError) as caught:
        asyncio.run(client.get_secret("any-token"))
    return caught.value.reason == "closed"


@pytest.fixture(autouse=True)
def _at_the_gateway(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_BASE_URL", gateway.url)


def test_the_readme_shows_both_forms() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    shown = {ast.dump(ast.parse(block)) for block in blocks}
    assert ast.dump(ast.parse(LIFESPAN)) in shown
    assert ast.dump(ast.parse(WITHOUT_TOKEN_IN_URL)) in shown


def test_the_lifespan_form_serves_and_closes_its_client(gateway: oo.testing.LocalGateway) -> None:
    # The token opens once: all but the first answer come from the cache.
    module = loaded(LIFESPAN.replace("YOUR_TOKEN", gateway.secret("greeting", "hello", uses=1)))
    with served(module) as url:
        assert [get(f"{url}/greeting") for _ in range(3)] == [(200, {"length": 5})] * 3
    assert is_closed(module["app"].state.client)


def test_the_lifespan_form_may_be_entered_again_and_has_a_new_client(gateway: oo.testing.LocalGateway) -> None:
    module = loaded(LIFESPAN.replace("YOUR_TOKEN", gateway.secret("greeting", "hello")))
    clients = []
    for _ in range(2):
        with served(module) as url:
            assert get(f"{url}/greeting") == (200, {"length": 5})
        clients.append(module["app"].state.client)
    assert clients[0] is not clients[1]
    assert [is_closed(client) for client in clients] == [True, True]


@needs_on_event
def test_the_on_event_form_of_the_0_2_series_serves_and_closes_its_client(gateway: oo.testing.LocalGateway) -> None:
    module = loaded_on_event()
    token = gateway.secret("greeting", "hello", uses=1)
    with served(module) as url:
        assert [get(f"{url}/secret/{token}") for _ in range(3)] == [(200, {"secret": "hello"})] * 3
    assert is_closed(module["client"])


@needs_on_event
def test_the_on_event_form_of_the_readme_serves_and_closes_its_client(gateway: oo.testing.LocalGateway) -> None:
    module = loaded_on_event(WITHOUT_TOKEN_IN_URL.replace("YOUR_TOKEN", gateway.secret("greeting", "hello", uses=1)))
    with served(module) as url:
        assert [get(f"{url}/greeting") for _ in range(3)] == [(200, {"length": 5})] * 3
    assert is_closed(module["client"])


@needs_on_event
def test_requests_at_the_same_time_share_one_fetch(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.secret("greeting", "hello", uses=1)
    with served(loaded_on_event()) as url, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(get, [f"{url}/secret/{token}"] * 64))
    assert answers == [(200, {"secret": "hello"})] * 64


@needs_on_event
def test_a_token_that_is_not_accepted_fails_its_request_alone(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.secret("greeting", "hello")
    with served(loaded_on_event()) as url:
        assert get(f"{url}/secret/no-such-token") == (500, None)
        assert get(f"{url}/secret/{token}") == (200, {"secret": "hello"})


def test_uvicorn_on_the_command_line_serves_it_and_stops_without_a_warning(
    gateway: oo.testing.LocalGateway, tmp_path: Path
) -> None:
    token = gateway.secret("greeting", "hello")
    (tmp_path / "app.py").write_text(LIFESPAN.replace("YOUR_TOKEN", token))
    command = [sys.executable, "-W", "always", "-m", "uvicorn", "app:app", "--port", "0", "--no-access-log"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "OO_BASE_URL": gateway.url}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            lines: list[str] = []
            while not (found := re.search(r"running on (http://[\d.:]+)", lines[-1] if lines else "")):
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            assert get(f"{found[1]}/greeting") == (200, {"length": 5})
            process.send_signal(signal.SIGINT)
            lines += process.stderr.readlines()
        finally:
            watchdog.cancel()
            process.kill()
    assert "Application shutdown complete" in "".join(lines)
    assert [line for line in unhurried(lines) if not line.startswith("INFO:")] == []
