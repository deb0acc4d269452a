"""Messages of a WebSocket."""

from __future__ import annotations

import pytest

from oo._http.message import NORMAL, Message


def test_a_message_is_its_payload() -> None:
    message = Message("text", b"abc")
    assert (message, message.opcode, len(message)) == (b"abc", "text", 3)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (Message("close"), NORMAL, b""),
        (Message.closing(None), NORMAL, b""),
        (Message.closing(4001), 4001, b""),
        (Message.closing(4001, "so long"), 4001, b"so long"),
        (Message.closing(1008, "x" * 200), 1008, b"x" * 123),
    ],
)
def test_a_close_has_a_code_and_a_reason(message: Message, code: int, reason: bytes) -> None:
    assert (message.opcode, message.code, message.reason) == ("close", code, reason)
    assert len(message) <= 125
