from __future__ import annotations

import base64
import hmac

import pytest

from oo.gateway.errors import IntegrityError
from oo.gateway.sealing import Keyring, derive, key_id, keyed_hash, new_key

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def ring() -> Keyring:
    return Keyring([OLD, NEW])


def test_the_last_key_of_a_ring_is_the_current_one(ring: Keyring) -> None:
    assert ring.current == key_id(NEW)
    assert key_id(OLD) in ring
    assert key_id(b"x" * 32) not in ring


def test_a_value_opens_where_it_was_sealed(ring: Keyring) -> None:
    for key in (key_id(OLD), key_id(NEW)):
        assert ring.open(key, "secret", "a", 1, ring.seal(key, "secret", "a", 1, b"value")) == b"value"


def test_every_seal_has_a_nonce_of_its_own(ring: Keyring) -> None:
    sealed = [ring.seal(ring.current, "secret", "a", 1, b"the same value") for _ in range(1000)]
    assert len({each[:12] for each in sealed}) == 1000
    assert len({each[12:] for each in sealed}) == 1000
    assert not any(b"value" in each for each in sealed)


@pytest.mark.parametrize(
    ("key", "kind", "name", "version"),
    [
        (OLD, "secret", "a", 1),
        (NEW, "head", "a", 1),
        (NEW, "secret", "b", 1),
        (NEW, "secret", "a", 2),
        (NEW, "secre", "ta", 1),
        (NEW, "secret", "a1", 1),
    ],
)
def test_a_value_opens_nowhere_else(ring: Keyring, key: bytes, kind: str, name: str, version: int) -> None:
    sealed = ring.seal(ring.current, "secret", "a", 1, b"value")
    with pytest.raises(IntegrityError):
        ring.open(key_id(key), kind, name, version, sealed)


def test_a_change_of_any_bit_and_any_cut_is_seen(ring: Keyring) -> None:
    sealed = ring.seal(ring.current, "secret", "a", 1, b"value")
    changed = [
        bytes(byte ^ (1 << bit) if n == place else byte for n, byte in enumerate(sealed))
        for place in range(len(sealed))
        for bit in range(8)
    ]
    cut = [sealed[:length] for length in range(len(sealed))]
    odd: list[object] = [None, 7, "text", sealed + b"\0"]
    for each in [*changed, *cut, *odd]:
        with pytest.raises(IntegrityError):
            ring.open(ring.current, "secret", "a", 1, each)  # type: ignore[arg-type]  # a damaged column


@pytest.mark.parametrize("odd", [None, b"secret", b"a", b"1", 1.5])
@pytest.mark.parametrize("column", range(3))
def test_a_damaged_column_of_any_type_is_seen(ring: Keyring, column: int, odd: object) -> None:
    sealed = ring.seal(ring.current, "secret", "a", 1, b"value")
    place: list[object] = ["secret", "a", 1]
    place[column] = odd
    with pytest.raises(IntegrityError):
        ring.open(ring.current, *place, sealed)  # type: ignore[arg-type]


def test_no_repr_and_no_id_tells_of_a_key() -> None:
    key = new_key()
    assert len(key) == 32
    assert key != new_key()
    told = repr(Keyring([key])) + key_id(key)
    assert key.hex()[:8] not in told
    assert base64.b64encode(key).decode()[:8] not in told


def test_a_ring_tells_its_keys_in_their_order_and_may_be_empty(ring: Keyring) -> None:
    assert (ring.own, ring.ids) == ((OLD, NEW), (key_id(OLD), key_id(NEW)))
    assert (Keyring(()).current, Keyring(()).ids) == ("", ())


def test_keys_for_two_purposes_differ() -> None:
    assert len({derive(OLD, b"one"), derive(OLD, b"other"), derive(NEW, b"one")}) == 3
    assert derive(OLD, b"one") == derive(OLD, b"one")


@pytest.mark.parametrize("data", [b"", b"key", b"x" * 1000])
def test_a_keyed_hash_is_the_standards(data: bytes) -> None:
    for key in (OLD, NEW, OLD):
        assert keyed_hash(key, data) == hmac.digest(key, data, "sha256")
