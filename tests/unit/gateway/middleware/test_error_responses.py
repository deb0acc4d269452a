from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
from oo._http.body import Body
from oo.gateway.context import gateway_context
from oo.gateway.errors import GatewayError, StoreUnavailable
from oo.gateway.middleware.error_responses import ErrorResponses
from oo.gateway.store.moving import unavailable
from tests.support.calls import call, through

CANARY = "canary-in-an-error"
BROKEN = oo.DoubleOError("broken", reason="connection")


@pytest.mark.parametrize(
    ("error", "status", "message", "outcome"),
    [
        (GatewayError(403, "no", "not allowed", {"X-Why": "y"}), 403, "no", "not allowed"),
        (BROKEN, 502, "the call failed: broken", "upstream connection"),
        (
            StoreUnavailable("the vault /home/x/vault.db"),
            *(503, "the store does not answer at the moment", "unavailable"),
        ),
        (RuntimeError(CANARY), 500, "the gateway failed", "failed"),
    ],
)
async def test_an_error_becomes_a_response(
    error: Exception, status: int, message: str, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = call(endpoint="secret")
    answer, _ = await through(ErrorResponses(), request, error)
    assert (answer.status, answer.json()) == (status, {"error": message})
    assert gateway_context(request).outcome == outcome
    assert answer.headers.get("X-Why") == ("y" if status == 403 else None)
    assert ("RuntimeError" in caplog.text) is (status == 500)
    assert CANARY not in caplog.text


async def test_a_store_that_has_moved_is_said_and_its_place_stands_in_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = ErrorResponses()
    for _ in range(2):
        answer, _ = await through(errors, call(endpoint="secret"), unavailable(f"id /{CANARY}"))
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "1")
        assert answer.json()["error"].startswith("the store has moved: ")
        assert CANARY not in str(answer.json())
    assert [record.getMessage() for record in caplog.records] == [
        f"the store has moved to /{CANARY}: name that one with --store or OO_STORE"
    ]


async def test_a_proxied_calls_error_has_openais_shape() -> None:
    answer, _ = await through(ErrorResponses(), call(), GatewayError(403, "no", "not allowed"))
    assert answer.json() == {"error": {"message": "no", "type": "permission_error", "code": "not_allowed"}}


async def test_the_callers_own_disconnection_is_no_answer() -> None:
    with pytest.raises(ConnectionResetError):
        await through(ErrorResponses(), call(), ConnectionResetError())


def streaming(*pieces: bytes | Exception, length: int | None = None) -> oo.Response:
    async def flowing() -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return oo.Response(200, request=call(), stream=Body(flowing(), length=length))


@pytest.mark.parametrize("length", [None, 5])
async def test_a_stream_arrives_whole_and_knows_what_remains(length: int | None) -> None:
    answer, _ = await through(ErrorResponses(), call(), streaming(b"wh", b"ole", length=length))
    body = answer.stream
    assert isinstance(body, Body)
    assert body.remaining == (length and 3)
    assert [(piece, body.remaining) async for piece in body] == [(b"wh", length and 3), (b"ole", length and 0)]


async def test_a_stream_of_nothing_has_no_stream() -> None:
    answer, _ = await through(ErrorResponses(), call(), streaming())
    assert (answer.stream, answer.body) == (None, b"")


async def test_a_stream_that_breaks_off_before_its_first_piece_is_an_error() -> None:
    answer, _ = await through(ErrorResponses(), call(endpoint="secret"), streaming(BROKEN))
    assert (answer.status, answer.json()) == (502, {"error": "the upstream's answer broke off: broken"})


async def test_one_that_breaks_off_later_breaks_off() -> None:
    answer, _ = await through(ErrorResponses(), call(), streaming(b"half", BROKEN))
    assert answer.stream is not None
    with pytest.raises(oo.DoubleOError, match="broken"):
        [piece async for piece in answer.stream]


async def test_one_that_is_left_leaves_the_one_beneath() -> None:
    beneath = streaming(b"one", b"two")
    answer, _ = await through(ErrorResponses(), call(), beneath)
    assert isinstance(answer.stream, Body)
    assert isinstance(beneath.stream, Body)
    answer.stream.abort()
    assert beneath.stream.outcome == "left"
