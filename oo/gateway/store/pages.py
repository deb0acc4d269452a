"""What a row takes of a SQLite file, in whole pages (https://www.sqlite.org/fileformat2.html, 1.6). Pure."""

from __future__ import annotations

from functools import lru_cache

PAGE = 4096
"""Bytes of a page."""

_HEADER = 8  # bytes of a leaf
_POINTER = 2  # to a cell, in its leaf
_NEXT = 4  # bytes of a page's number, with which an overflow page begins
_ID = 5  # bytes of a row's id, up to 2**35
_MOST = PAGE - 35  # bytes of a row that stay in its leaf, at most
_LEAST = (PAGE - 12) * 32 // 255 - 23  # bytes that stay there of one that overflows


@lru_cache(256)
def taken(blob: int) -> int:
    """The bytes of the file that a row of an id and a blob of so many bytes takes, among rows of its size.

    Ids grow, so a leaf is full once the next row is larger than what is left in it: a row of 2,100 bytes takes a page.
    Rows of many sizes take about what their counts add up to; two sizes in turns that do not share a leaf take up to
    twice that.
    """
    payload = 2 + _varint(2 * blob + 12) + blob
    local, overflow = payload, 0
    if payload > _MOST:
        local = _LEAST + (payload - _LEAST) % (PAGE - _NEXT)
        if local > _MOST:
            local = _LEAST
        overflow = -(-(payload - local) // (PAGE - _NEXT))
    cell = _POINTER + _varint(payload) + _ID + local + (_NEXT if overflow else 0)
    return overflow * PAGE + PAGE // ((PAGE - _HEADER) // cell)


def _varint(number: int) -> int:
    """The bytes of an integer of seven bits a byte."""
    return max(1, -(-number.bit_length() // 7))
