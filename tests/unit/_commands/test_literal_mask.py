"""A token is masked in what a string of JSON means, however it is cut."""

from __future__ import annotations

import json

import pytest

from oo._commands._literal_mask import LiteralMask
from oo._core.masking import Mask

TOKEN = 'oo_a\\quoted"token/of&27'
TWICE = json.dumps({"a": [json.dumps(TOKEN), f"<{json.dumps(TOKEN)}>"], "n": 1.50, "plain": "x\\ny"}).encode()


def masked(data: bytes, size: int) -> bytes:
    mask = LiteralMask(Mask([TOKEN]))
    return b"".join([*(mask.feed(data[at : at + size]) for at in range(0, len(data), size)), mask.finish()])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_what_is_escaped_twice_is_masked_at_every_cut(size: int) -> None:
    shown = masked(TWICE, size)
    found = json.loads(shown)
    assert "***" in found["a"][0]
    assert "***" in found["a"][1]
    assert b'"n": 1.5, "plain": "x\\\\ny"' in shown
    assert b"quoted" not in shown


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        b'a "quote" and "another',
        b'an "open one\nand "more" of \\"it\\',
        b'{"a": 12345678901234567890123, "b": 1e400, "c": "\\u00e4\\n", "d": "\\x"}',
        bytes(range(256)) * 2,
        b'"' * 99,
        b'"\\',
    ],
)
def test_everything_else_passes_as_it_is(data: bytes, size: int) -> None:
    assert masked(data, size) == data


def test_a_string_that_breaks_off_is_masked_too() -> None:
    whole = json.dumps(f"it is {json.dumps(TOKEN)} and more").encode()[:-1]
    for end in range(whole.index(b"and"), len(whole) + 1):
        shown = masked(whole[:end], 1000)
        assert b"***" in shown
        assert b"quoted" not in shown
