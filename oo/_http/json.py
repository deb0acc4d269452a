"""JSON, strictly (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from ..exceptions import DoubleOError

JSON: TypeAlias = Any
"""What a JSON text holds: dict, list, str, int, float, bool or None."""

MAX_ANSWER = 1 << 20
"""The most bytes that a client accepts as the answer to get_secret and get_env."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# RFC 8259 has no NaN and no Infinity; Python's parser takes both unless it is told.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_SPACE = " \t\n\r"
_BOM = "\ufeff"


def parse_json(body: bytes) -> JSON:
    """Parse strict JSON from UTF-8 bytes. DoubleOError (reason "protocol") if it is not JSON; the error never shows
    the bytes."""
    try:
        text = str(body, "utf-8").removeprefix(_BOM).strip(_SPACE)  # RFC 8259, 8.1: a parser may ignore a BOM
        data, end = _decode(text)
        if end == len(text):
            return data
    except (ValueError, RecursionError):
        pass
    # Raised out here, because json's and the codec's errors carry the whole body and would become the context.
    what = "an empty body" if not body.strip() else "a body that is not JSON"
    raise DoubleOError(f"the server answered with {what}", reason="protocol")
