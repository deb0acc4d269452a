from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import oo
from oo._core.io import LoopIO
from oo._core.masking import Mask
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.audit_log import AuditLog
from oo.gateway.metrics import Metrics
from oo.gateway.middleware import count_calls as module
from oo.gateway.middleware.count_calls import CountCalls
from oo.gateway.models import Route
from oo.gateway.shared_counts import added_up
from oo.gateway.stack import Stack
from oo.testing import MockTransport
from tests.support.calls import call, through
from tests.support.stores import LenientStore

ROUTE = Route("r", "https://api.test")


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    made = Metrics(tmp_path)
    yield made
    made.close()


def counted(directory: Path, name: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: numbers[0] for key, numbers, _ in added_up(directory) if key[0] == name}


class Full:
    """A sink without room."""

    def write(self, line: bytes) -> None:
        raise OSError(28, "no room")

    def check(self) -> None: ...
    def reopen(self) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("script", "known", "key"),
    [
        (200, {"route": ROUTE}, ("r", "proxy", "allowed", "2xx")),
        (401, {"outcome": "used up"}, ("", "proxy", "used up", "4xx")),
        (ConnectionResetError(), {"route": ROUTE}, ("r", "proxy", "left", "4xx")),
        (ZeroDivisionError(), {"route": ROUTE}, ("r", "proxy", "failed", "5xx")),
        (ConnectionResetError(), {"route": ROUTE, "ended": "revoked"}, ("r", "proxy", "revoked", "4xx")),
    ],
)
async def test_a_call_is_counted_by_the_words_of_the_audit(
    metrics: Metrics, tmp_path: Path, script: object, known: dict[str, object], key: tuple[str, ...]
) -> None:
    try:
        await through(CountCalls(metrics), call(endpoint="proxy", **known), script)
    except (ConnectionError, ZeroDivisionError):
        pass
    assert counted(tmp_path, "oo_calls") == {key: 1.0}


@pytest.mark.parametrize(("whole", "word", "status"), [(True, "allowed", "2xx"), (False, "left", "4xx")])
async def test_a_stream_is_counted_when_it_has_ended_and_under_way_till_then(
    metrics: Metrics, tmp_path: Path, whole: bool, word: str, status: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    counting = CountCalls(metrics)
    request = call(endpoint="proxy", route=ROUTE, token_id="t")
    response, _ = await through(counting, request, oo.Response(200, request=request, stream=Body(pieces())))
    counting._tell()
    assert counted(tmp_path, "oo_calls") == {}
    assert counted(tmp_path, "oo_open_calls") == {("r", "t"): 1.0}
    assert response.stream is not None
    async for _ in response.stream:
        if not whole:
            break
    response.abort()
    counting._tell()
    assert counted(tmp_path, "oo_calls") == {("r", "proxy", word, status): 1.0}
    assert counted(tmp_path, "oo_open_calls") == {("r", "t"): 0.0}
    assert counted(tmp_path, "oo_token_calls") == {("r", "t"): 1.0}


@pytest.mark.parametrize("script", [200, ConnectionResetError()])
async def test_what_is_under_way_is_told_until_nothing_is(
    metrics: Metrics, tmp_path: Path, script: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.01)
    counting, over = CountCalls(metrics), asyncio.Event()

    async def waits(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await over.wait()
        return await call_next(request)

    pipeline = Pipeline([counting, waits], MockTransport([script]), LoopIO())
    calling = asyncio.create_task(pipeline.handle(call(endpoint="secret", token_id="t")))
    await asyncio.sleep(0.2)
    assert counted(tmp_path, "oo_open_calls") == {("", "t"): 1.0}
    over.set()
    await asyncio.wait([calling])
    assert (calling.exception() is None) is (script == 200)
    await asyncio.sleep(0.2)
    assert counted(tmp_path, "oo_open_calls") == {("", "t"): 0.0}
    assert counting._timer is None


async def test_a_look_at_the_health_is_no_call(metrics: Metrics, tmp_path: Path) -> None:
    await through(CountCalls(metrics), call("GET", "/health", endpoint="health"))
    assert list(added_up(tmp_path)) == []


async def test_what_was_masked_and_what_the_audit_lost_is_counted(metrics: Metrics, tmp_path: Path) -> None:
    audit = AuditLog(Full())
    stack = Stack(LenientStore(), audit, metrics=metrics)
    counting = CountCalls(metrics)
    Mask(["secret-value"]).data(b"a secret-value, and a secret-value")
    audit.cut(1)
    for _ in range(2):
        await through(counting, call(endpoint="proxy"))
    assert counted(tmp_path, "oo_masked") == {(): 2.0}
    assert counted(tmp_path, "oo_audit_lost") == {(): 1.0}
    await stack.close()
