"""Masks values in the strings of JSON, and leaves the rest of it as it came, spaces and numbers included."""

from __future__ import annotations

import json
import re

from .._core.masking import Mask

_STRING = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*"')
_LONGEST_ESCAPE = 12  # bytes: a pair of surrogates, \ud83d\ude48


class LiteralMask:
    """Masks values in JSON strings whose text holds escapes: the value may be in what the string means, though not in
    how it is written.

    A string ends within its line. What no JSON parser takes for a string is left as it is; so is a text without JSON.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece. Returns what can be printed so far: all but a string that has not ended."""
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
        """What is left at the end: a string that never ended, masked as far as it can be decoded."""
        held, self._held = self._held, b""
        if b"\\" not in held:
            return held
        for end in range(len(held), max(len(held) - _LONGEST_ESCAPE, 1), -1):
            masked = self._masked(held[:end] + b'"')
            if masked != held[:end] + b'"':
                return masked[:-1]
        return held

    def _masked(self, literal: bytes) -> bytes:
        # Without an escape, a string means what is written, which the plain mask covers.
        if b"\\" not in literal:
            return literal
        try:
            meant = json.loads(literal)
        except ValueError:
            return literal
        masked = self._mask.text(meant)
        return literal if masked == meant else json.dumps(masked).encode()
