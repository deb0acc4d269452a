from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType

import pytest

import oo
from oo._core.io import LoopIO
from oo._core.masking import Mask
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.audit_log import AuditLog
from oo.gateway.context import gateway_context
from oo.gateway.counting_audit import CountingAudit
from oo.gateway.metrics import Ended, Metrics
from oo.gateway.middleware.audit import WriteAudit
from oo.gateway.middleware.begin_audit import BeginAudit
from oo.gateway.models import Route
from oo.gateway.shared_counts import added_up
from oo.gateway.stack import Stack
from oo.testing import MockTransport
from tests.support.calls import call, through
from tests.support.stores import LenientStore, Notes

ROUTE = Route("r", "https://api.test")


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    made = Metrics(tmp_path)
    yield made
    made.close()


def counted(directory: Path, name: str) -> dict[tuple[str, ...], float]:
    return {
        key[1:]: Ended.of(cells).calls if name == "oo_calls" else cells[0]
        for key, cells, _ in added_up(directory)
        if key[0] == name
    }


class Full:
    """A sink without room."""

    def write(self, line: bytes) -> None:
        raise OSError(28, "no room")

    def check(self) -> None:
        raise OSError(28, "no room")

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
    counting = CountingAudit(metrics)
    try:
        await through(WriteAudit(counting), call(endpoint="proxy", **known), script)
    except (ConnectionError, ZeroDivisionError):
        pass
    assert counted(tmp_path, "oo_calls") == {key: 1.0}


@pytest.mark.parametrize(("whole", "word", "status"), [(True, "allowed", "2xx"), (False, "left", "4xx")])
async def test_a_stream_is_counted_when_it_has_ended(
    metrics: Metrics, tmp_path: Path, whole: bool, word: str, status: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    counting = CountingAudit(metrics, Notes())
    request = call(endpoint="proxy", route=ROUTE, token_id="t")
    transport = MockTransport([oo.Response(200, request=request, stream=Body(pieces()))])
    response = await Pipeline([WriteAudit(counting), BeginAudit(counting)], transport, LoopIO()).handle(request)
    assert counted(tmp_path, "oo_calls") == {}
    assert response.stream is not None
    async for _ in response.stream:
        if not whole:
            break
    response.abort()
    assert gateway_context(request).head is not None
    assert counted(tmp_path, "oo_calls") == {("r", "proxy", word, status): 1.0}
    assert counted(tmp_path, "oo_token_calls") == {("r", "t"): 1.0}


async def test_a_look_at_the_health_is_no_call(metrics: Metrics, tmp_path: Path) -> None:
    await through(WriteAudit(CountingAudit(metrics)), call("GET", "/health", endpoint="health"))
    assert list(added_up(tmp_path)) == []


async def test_what_was_masked_and_what_the_audit_lost_is_counted(metrics: Metrics, tmp_path: Path) -> None:
    audit = AuditLog(Full())
    stack = Stack(LenientStore(), audit, metrics=metrics)
    counting = CountingAudit(metrics, audit)
    Mask(["secret-value"]).data(b"a secret-value, and a secret-value")
    assert not counting.is_writable()
    counting.cut(1)
    metrics.ended(gateway_context(call()), "allowed", 200, 0, 0.0)  # with which it is counted, whose it may be
    assert counted(tmp_path, "oo_masked") == {(): 2.0}
    assert counted(tmp_path, "oo_audit_lost") == {(): 1.0}
    await stack.close()


async def test_to_count_a_call_takes_two_functions_and_no_timer(metrics: Metrics) -> None:
    counting, called = CountingAudit(metrics), list[str]()
    context = gateway_context(call(endpoint="proxy", route=ROUTE, token_id="t", head=0.1))

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    for watcher in (None, note):  # the first of its kind takes more
        sys.setprofile(watcher)
        counting.end(context, "allowed", 200, 10)
        sys.setprofile(None)
    assert called == ["end", "ended", "end"]  # the last is the audit's own
    assert counting.begin.__self__ is not counting  # type: ignore[attr-defined]  # it is the audit's own as well
