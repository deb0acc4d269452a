"""WholeAnswers: a part of what may be text is asked for once more, whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.context import GatewayContext
from oo.gateway.middleware.whole_answers import WholeAnswers
from oo.gateway.models import Route

INJECTS = {"X-Key": "{key}"}


async def asked(
    kind: str | None = "text/plain",
    method: str = "GET",
    inject: dict[str, str] = INJECTS,
    passed: tuple[str, ...] = (),
    body: Body | None = None,
) -> tuple[int, list[bool]]:
    """The status of the answer to a ranged request, and of each request that was sent whether it was ranged."""

    def answer(request: oo.Request) -> oo.Response:
        part = "Range" in request.headers
        fields = oo.Headers([] if kind is None else [("Content-Type", kind)])
        return oo.Response(206 if part else 200, fields, b"half" if part else b"the whole", request=request)

    context = GatewayContext()
    context.route = Route("r", "http://x.example", inject, pass_headers=passed)
    fields = oo.Headers([("Range", "bytes=0-3"), ("If-Range", '"x"'), ("X-Mine", "1")])
    request = oo.Request(method, "http://x.example/", fields, body, context=context)
    transport = oo.testing.MockTransport(answer)
    response = await Pipeline([WholeAnswers()], transport, LoopIO()).handle(request)
    assert all(("If-Range" in sent.headers) == ("Range" in sent.headers) for sent in transport.requests)
    assert all(sent.headers["X-Mine"] == "1" for sent in transport.requests)
    return response.status, ["Range" in sent.headers for sent in transport.requests]


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/json", "multipart/byteranges", "application/x-unheard-of", "", None),
        # Text by other names.
        *("image/svg+xml", "image/x-xbitmap", "image/x-portable-anymap", "audio/mpegurl", "Audio/X-MPEGURL"),
        *("audio/x-scpls", "application/zip-listing", "application/pdf+json"),
    ],
)
async def test_a_part_of_what_may_be_text_is_asked_for_whole(kind: str | None) -> None:
    assert await asked(kind) == (200, [True, False])


@pytest.mark.parametrize(
    "kind",
    [
        *("image/png", "video/mp4", "application/octet-stream", "application/zip", "AUDIO/ogg", "audio/mpeg"),
        *("application/pdf;version=1", "application/pdf ; x=y"),
    ],
)
async def test_a_part_of_what_is_binary_is_passed(kind: str) -> None:
    assert await asked(kind) == (206, [True])


async def test_a_route_that_injects_nothing_or_passes_ranges_keeps_them() -> None:
    assert await asked(inject={}) == await asked(inject={"X-Team": "blue"}) == (206, [True])
    assert await asked(passed=("RANGE",)) == (206, [True])


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    ("body", "sent"), [(Body(pieces), [True, False]), (Body(pieces()), [False])], ids=["again", "once"]
)
async def test_a_body_that_can_be_sent_once_is_sent_once(body: Body, sent: list[bool]) -> None:
    assert await asked(body=body) == (200, sent)


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_a_range_has_no_meaning_for_another_method(method: str) -> None:
    assert await asked(method=method) == (200, [False])


@pytest.mark.parametrize(("kind", "passes"), [("text/plain", False), (None, False), ("image/png", True)])
async def test_a_part_that_nobody_asked_for_is_passed_where_it_is_binary(kind: str | None, passes: bool) -> None:
    def answer(request: oo.Request) -> oo.Response:
        return oo.Response(206, oo.Headers([] if kind is None else [("Content-Type", kind)]), b"half", request=request)

    context = GatewayContext()
    context.route = Route("r", "http://x.example", INJECTS)
    chain = Pipeline([WholeAnswers()], oo.testing.MockTransport(answer), LoopIO())
    request = oo.Request("GET", "http://x.example/", oo.Headers([("X-Ms-Range", "bytes=0-3")]), context=context)
    if passes:
        assert (await chain.handle(request)).status == 206
    else:
        with pytest.raises(oo.DoubleOError, match="a part that was not asked for"):
            await chain.handle(request)
