"""Private keys of tests, made once a process, and a reader of what they signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@lru_cache
def rsa_pem(bits: int = 2048, password: str = "") -> str:
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=bits), password)


@lru_cache
def ec_pem(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> str:
    return _pem(ec.generate_private_key(curve()), "")


def read_jwt(token: str, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT whose signature is the key's; an exception where it is not."""
    head, claims, signature = token.split(".")
    header = json.loads(_decoded(head))
    signed, raw = f"{head}.{claims}".encode(), _decoded(signature)
    if header["alg"] == "HS256":
        assert hmac.compare_digest(hmac.digest(key.encode(), signed, hashlib.sha256), raw)
        return header, json.loads(_decoded(claims))
    private: Any = load_pem_private_key(key.encode(), None)
    if header["alg"] == "RS256":
        private.public_key().verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert len(raw) == 64
        numbers = [int.from_bytes(half, "big") for half in (raw[:32], raw[32:])]
        private.public_key().verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
    return header, json.loads(_decoded(claims))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _pem(key: Any, password: str) -> str:
    sealing: Any = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing)
    return pem.decode()
