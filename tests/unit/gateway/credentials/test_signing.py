from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import oo
from oo.gateway.credentials.signing import check_key, signed_jwt
from tests.support.private_keys import ec_pem, read_jwt, rsa_pem

SHARED = "a shared key of 32 bytes or more"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "HS256"])
def test_what_is_signed_can_be_verified(alg: str) -> None:
    key = {"RS256": rsa_pem, "ES256": ec_pem, "HS256": lambda: SHARED}[alg]()
    check_key(alg, key)
    for n in range(8):  # the numbers of ES256 have fewer digits now and then
        token = signed_jwt(alg, key, {"iss": "é", "n": n}, {"kid": "k"})
        assert read_jwt(token, key) == ({"alg": alg, "typ": "JWT", "kid": "k"}, {"iss": "é", "n": n})
        assert "=" not in token


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("RS256", ""),
        ("RS256", "canary"),
        ("RS256", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"),
        ("RS256", "half a character \ud800"),
        ("RS256", "EC"),
        ("RS256", "RSA 1024"),
        ("RS256", "RSA sealed"),
        ("ES256", "RSA"),
        ("ES256", "EC P-384"),
        ("HS256", "canary"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_and_not_quoted(alg: str, key: str) -> None:
    made = {
        "EC": lambda: ec_pem(),
        "EC P-384": lambda: ec_pem(ec.SECP384R1),
        "RSA": lambda: rsa_pem(),
        "RSA 1024": lambda: rsa_pem(1024),
        "RSA sealed": lambda: rsa_pem(2048, "password"),
    }
    key = made.get(key, lambda: key)()
    for use in (lambda: check_key(alg, key), lambda: signed_jwt(alg, key, {})):
        with pytest.raises(oo.DoubleOError, match=f"key of {alg}") as caught:
            use()
        assert caught.value.reason == "argument"
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None
