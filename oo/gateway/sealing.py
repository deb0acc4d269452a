"""Sealing: authenticated encryption of everything that is kept."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import IntegrityError

_NONCE = 12  # bytes (NIST SP 800-38D, 5.2.1.1)


class Keyring:
    """Seals and opens with any of some master keys, each told by its id; `current` is the last one's. KeyError for an
    id that is not on the ring."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(derive(key, b"double-o seal")) for key in keys}
        self.current = key_id(keys[-1])

    def __contains__(self, key: str) -> bool:
        return key in self._ciphers

    def seal(self, key: str, kind: str, name: str, version: int, value: bytes) -> bytes:
        """A fresh nonce and the value, sealed with AES-256-GCM and bound to where it belongs."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._ciphers[key].encrypt(nonce, value, _associated_data(kind, name, version, key))

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """The value; Tampered where that is not what was sealed there."""
        cipher = self._ciphers[key]
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _associated_data(kind, name, version, key))
        except (InvalidTag, TypeError, ValueError):  # in a damaged file a column may hold anything
            pass
        raise IntegrityError(
            f"the {kind} {name!r} in the vault does not open: it was changed, or sealed with another key"
        )


def new_key() -> bytes:
    """A new master key: 32 random bytes."""
    return secrets.token_bytes(32)


def key_id(key: bytes) -> str:
    """What tells keys apart and nothing about them."""
    return derive(key, b"double-o key id")[:8].hex()


def derive(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(key)


def _associated_data(kind: str, name: str, version: int, key: str) -> bytes:
    parts = [str(part).encode() for part in ("double-o", kind, name, version, key)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
