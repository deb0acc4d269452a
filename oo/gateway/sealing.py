"""Sealing: authenticated encryption of every stored value.

A record is sealed with a data key, and that, as a record of its own, with a master key: each by a ring of its kind.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import IntegrityError

_NONCE = 12  # bytes (NIST SP 800-38D, 5.2.1.1)
SEAL = _NONCE + 16
"""Bytes that a value is longer by once it is sealed: the nonce and the tag."""


class MasterKeys(Protocol):
    """What seals data keys: a ring of master keys, or a KMS. `current` is the id of the one that new ones are sealed
    with. `own` are those that this process holds itself."""

    @property
    def current(self) -> str: ...

    @property
    def own(self) -> Sequence[bytes]: ...

    def __contains__(self, key: str) -> bool: ...

    def seal(self, key: str, kind: str, name: str, version: int, value: bytes) -> bytes:
        """Encrypt a value with the key of that id. May wait; StoreUnavailable where the KMS does not answer."""

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """Decrypt a value, as above; IntegrityError if it isn't what was sealed for that kind, name and version."""


class Keyring:
    """Seals and opens with one of several keys, named by its id. `current` is the id of the last one, "" without any.
    KeyError for an id that isn't on the ring."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.own = tuple(keys)
        self._ciphers = {key_id(key): AESGCM(derive(key, b"double-o seal")) for key in keys}
        self.current = key_id(keys[-1]) if keys else ""

    def __contains__(self, key: str) -> bool:
        return key in self._ciphers

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, in their order."""
        return tuple(self._ciphers)

    def seal(self, key: str, kind: str, name: str, version: int, value: bytes) -> bytes:
        """Encrypt a value with AES-256-GCM, bound to its kind, name and version. Returns a fresh nonce and the
        ciphertext."""
        nonce = os.urandom(_NONCE)
        return nonce + self._ciphers[key].encrypt(nonce, value, associated_data(kind, name, version, key))

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        """Decrypt a value; IntegrityError if it isn't what was sealed for that kind, name and version."""
        cipher = self._ciphers[key]
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], associated_data(kind, name, version, key))
        except (InvalidTag, TypeError, ValueError):  # in a damaged file a column may hold anything
            pass
        raise IntegrityError(
            f"the {kind} {name!r} in the vault does not open: it was changed, or sealed with another key"
        )


def new_key() -> bytes:
    """A new key: 32 random bytes."""
    return secrets.token_bytes(32)


def key_id(key: bytes) -> str:
    """A key's public name, from which nothing of the key can be learnt."""
    return derive(key, b"double-o key id")[:8].hex()


def derive(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(key)


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """A hash of what may be guessed, which tells nothing without the key (HMAC-SHA256, RFC 2104)."""
    mac = _begun(key).copy()
    mac.update(data)
    return mac.finalize()


@lru_cache(4)
def _begun(key: bytes) -> HMAC:
    # OpenSSL takes several times as long for a new one as for a copy.
    return HMAC(key, hashes.SHA256())


def associated_data(kind: str, name: str, version: int, key: str) -> bytes:
    """What a sealed value is bound to."""
    return _framed_once("double-o", kind) + _framed(name) + _framed_once(str(version), key)


def _framed(*parts: str) -> bytes:
    """Parts with their lengths, so that none reads as two. In a damaged file one may be no text."""
    encoded = [str(part).encode() for part in parts]
    return b"".join([len(part).to_bytes(4, "big") + part for part in encoded])


_framed_once = lru_cache(64)(_framed)  # for what is the same in many
