"""Tokens: how one is made, checked for typos, and stored as a keyed hash."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import zlib

from .sealing import keyed_hash

PREFIX = "oo_"
_SHAPE = re.compile(r"oo_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{6})")


def new_token() -> str:
    """Make a token: `oo_`, then 32 random bytes and their checksum in base64url. Secret scanners find that shape, and a
    typo breaks the checksum."""
    body = _text(secrets.token_bytes(32))
    return f"{PREFIX}{body}{_checksum(body)}"


def has_form(text: str) -> bool:
    """Whether a text has a token's shape, with a typo in it or without."""
    return _SHAPE.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether a text has a token's shape and checksum, whatever it opens."""
    match = _SHAPE.fullmatch(text)
    return match is not None and hmac.compare_digest(_checksum(match[1]), match[2])


def fingerprint(key: bytes, token: str) -> bytes:
    """The stored hash of a token: HMAC-SHA256 (RFC 2104) under the store's own key."""
    return keyed_hash(key, token.encode("utf-8", "surrogateescape"))


def _checksum(body: str) -> str:
    return _text(zlib.crc32(body.encode()).to_bytes(4, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
