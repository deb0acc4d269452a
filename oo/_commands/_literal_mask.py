"""Masking within the strings of JSON that is printed as it came, numbers and spaces included."""

from __future__ import annotations

import json
import re

from .._core.masking import Mask

_STRING = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*"')
_LONGEST_ESCAPE = 12  # bytes: a pair of surrogates, \ud83d\ude48


class LiteralMask:
    """Masks what the strings of a text mean, where that differs from how they are written.

    A text without JSON passes as it is: a string ends within its line, and one that no JSON parser takes is left.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be printed once a piece has come: all but a string that has not ended."""
        if self._held and b'"' not in piece and b"\n" not in piece:
            self._held += piece
            return b""
        data, done, shown = self._held + piece, 0, []
        for literal in _STRING.finditer(data):
            shown += [data[done : literal.start()], self._masked(literal[0])]
            done = literal.end()
        opened = data.find(b'"', max(done, data.rfind(b"\n") + 1))
        cut = len(data) if opened < 0 else opened
        self._held = data[cut:]
        return b"".join([*shown, data[done:cut]])

    def finish(self) -> bytes:
        """What is left: a string that never ended, as far as it means something."""
        held, self._held = self._held, b""
        if b"\\" not in held:
            return held
        for end in range(len(held), max(len(held) - _LONGEST_ESCAPE, 1), -1):
            masked = self._masked(held[:end] + b'"')
            if masked != held[:end] + b'"':
                return masked[:-1]
        return held

    def _masked(self, literal: bytes) -> bytes:
        # Without an escape it means what it says, which is masked as it stands.
        if b"\\" not in literal:
            return literal
        try:
            meant = json.loads(literal)
        except ValueError:
            return literal
        masked = self._mask.text(meant)
        return literal if masked == meant else json.dumps(masked).encode()
