from __future__ import annotations

import pytest

import oo
from oo.gateway.stack import Stack
from tests.support.calls import call
from tests.support.stores import LenientStore, Notes

CHAIN = (
    "WriteAudit Cors ErrorResponses call Authorize Allow Concurrency BeginAudit fetch EndRevoked Idempotency "
    "EndRevoked Limits Forward Resilience Failover attempt MaskResponse WholeAnswers LeadBack ApplyCredentials wire"
)


def plugin(name: str) -> oo.Middleware:
    async def middleware(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request)

    middleware.__name__ = name
    return middleware


def names(stack: Stack) -> str:
    return " ".join(getattr(each, "__name__", type(each).__name__) for each in stack.pipeline.middleware)


async def test_the_chain_reads_as_the_table_of_contents() -> None:
    stack = Stack(LenientStore(), offers={slot: [plugin(slot.value)] for slot in oo.Slot})
    assert names(stack) == CHAIN
    assert names(Stack(LenientStore())) == " ".join(word for word in CHAIN.split() if not word.islower())
    await stack.close()


@pytest.mark.parametrize("endpoint", ["health", "secret"])
async def test_what_needs_no_upstream_is_answered_from_the_store(endpoint: str) -> None:
    stack = Stack(LenientStore())
    answer = await stack.handle(call("GET", "/x", ("Authorization", "Bearer t"), endpoint=endpoint))
    assert answer.status == (200 if endpoint == "health" else 401)
    await stack.close()


SAID = "the request is not valid HTTP"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("", SAID),
        ("/api/secret", SAID),
        ("/api/proxy/v1/x", {"message": SAID, "type": "invalid_request_error", "code": "bad_request"}),
    ],
)
async def test_what_is_malformed_asks_no_plugin_and_is_written_down(url: str, error: object) -> None:
    asked: list[oo.Request] = []

    async def asking(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        asked.append(request)
        return await call_next(request)

    notes = Notes()
    stack = Stack(LenientStore(), notes, {oo.Slot.CALL: [asking]})
    answer = stack.refuse(call("GET", url, malformed=SAID, endpoint="other"))
    assert (answer.status, answer.json()) == (400, {"error": error})
    assert (notes.outcomes, asked) == (["bad request"], [])
    await stack.close()
