"""JSON Web Tokens, signed (RFC 7515, RFC 7518, RFC 7519)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..._http.response import JSON
from ...exceptions import DoubleOError

ALGORITHMS = ("RS256", "ES256", "HS256")
_SHORTEST_HMAC = 32  # bytes, RFC 7518, 3.2
_SHORTEST_RSA = 2048  # bits, RFC 7518, 3.3


def signed_jwt(alg: str, key: str, claims: Mapping[str, JSON], header: Mapping[str, JSON] | None = None) -> str:
    """A compact JWT. `key` is a private key in PEM, for HS256 the secret itself. DoubleOError where it does not fit
    the algorithm; it quotes nothing of it."""
    head = {"alg": alg, "typ": "JWT", **(header or {})}
    text = f"{_coded(_json(head))}.{_coded(_json(claims))}"
    return f"{text}.{_coded(_signature(alg, key, text.encode()))}"


def check_key(alg: str, key: str) -> None:
    """DoubleOError where a key does not fit the algorithm. It is validated in full, which takes a tenth of a second."""
    if alg == "HS256":
        _signature(alg, key, b"")
    else:
        _private_key(alg, key, is_known=False)


def _signature(alg: str, key: str, data: bytes) -> bytes:
    if alg == "HS256":
        raw = key.encode("utf-8", "surrogatepass")
        if len(raw) < _SHORTEST_HMAC:
            raise DoubleOError(f"a key of HS256 has {_SHORTEST_HMAC} bytes or more", reason="argument")
        return hmac.digest(raw, data, hashlib.sha256)
    private = _private_key(alg, key)
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), SHA256())
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101  # _private_key saw to that
    # RFC 7518, 3.4: the two numbers side by side, not in ASN.1.
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _private_key(alg: str, pem: str, *, is_known: bool = True) -> PrivateKeyTypes:
    key: PrivateKeyTypes | None = None
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        # It was validated when it was set; that takes longer than an event loop may be held.
        key = load_pem_private_key(pem.encode("utf-8", "replace"), None, unsafe_skip_rsa_key_validation=is_known)
    if alg == "RS256" and isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SHORTEST_RSA:
        return key
    if alg == "ES256" and isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    fits = f"RSA of {_SHORTEST_RSA} bits or more" if alg == "RS256" else "on the curve P-256"
    raise DoubleOError(f"the key of {alg} is no private key in PEM, {fits} and without a passphrase", reason="argument")


def _json(data: Mapping[str, JSON]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
