"""A message of a WebSocket (RFC 6455)."""

from __future__ import annotations

from typing import Literal, TypeAlias

Opcode: TypeAlias = Literal["text", "binary", "close"]


class Message(bytes):
    """One message, its payload as bytes. A Body of a call that became a WebSocket gives one a piece.

    The payload of "text" is UTF-8. That of "close" is empty, or a code of two bytes and a reason (RFC 6455, 5.5.1).
    """

    opcode: Opcode

    def __new__(cls, opcode: Opcode, payload: bytes = b"") -> Message:
        self = super().__new__(cls, payload)
        self.opcode = opcode
        return self

    @classmethod
    def closing(cls, code: int | None, reason: str = "") -> Message:
        """The "close" with a code and its reason; an empty one without a code."""
        if code is None:
            return cls("close")
        # A control frame holds 125 bytes (RFC 6455, 5.5).
        return cls("close", code.to_bytes(2, "big") + reason.encode()[:_LONGEST_REASON])

    @property
    def code(self) -> int:
        """The code of a "close"; 1000, a normal end, where it says none."""
        return int.from_bytes(self[:2], "big") if len(self) > 1 else NORMAL

    @property
    def reason(self) -> bytes:
        """What a "close" says for its reason."""
        return self[2:]


NORMAL = 1000
"""The code of a normal end."""
_LONGEST_REASON = 123
