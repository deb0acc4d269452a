from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from oo.gateway import authority
from oo.gateway.errors import StoreError
from oo.gateway.models import AuthorityKey

NOW = 1_800_000_000.0
KEY = AuthorityKey(authority.new_key(), NOW)


def made(hosts: list[str]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.ca_certificate(KEY, hosts, NOW).encode())


def values(names: list[x509.GeneralName] | None) -> list[str]:
    return [str(name.value) for name in names or []]


@pytest.mark.parametrize(
    ("hosts", "permitted", "excluded"),
    [
        (["a.test", "b.test"], ["a.test", "b.test"], ["0.0.0.0/0", "::/0"]),
        (["a.test", "10.1.2.3"], ["a.test", "10.1.2.3/32"], ["::/0"]),
        (["10.1.2.3"], ["invalid", "10.1.2.3/32"], ["::/0"]),
        (["::1"], ["invalid", "::1/128"], ["0.0.0.0/0"]),
        (["::1", "10.1.2.3"], ["invalid", "::1/128", "10.1.2.3/32"], []),
        ([], ["invalid"], ["0.0.0.0/0", "::/0"]),
    ],
)
def test_the_authority_may_speak_for_some_hosts_alone(
    hosts: list[str], permitted: list[str], excluded: list[str]
) -> None:
    extension = made(hosts).extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    assert values(extension.value.permitted_subtrees) == permitted
    assert values(extension.value.excluded_subtrees) == excluded


def test_the_certificate_of_the_authority() -> None:
    found = made(["a.test"])
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert found.not_valid_before_utc.timestamp() < NOW < found.not_valid_after_utc.timestamp() < NOW + 400 * 86400


def test_a_leaf_is_for_one_host_and_a_day() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    for host, kind in (("a.test", x509.DNSName), ("10.1.2.3", x509.IPAddress)):
        leaf = x509.load_pem_x509_certificate(authority.leaf_certificate(KEY, host, public, NOW).encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert (names.critical, [str(name.value) for name in names.value]) == (True, [host])
        assert isinstance(next(iter(names.value)), kind)
        assert not list(leaf.subject)
        assert leaf.not_valid_after_utc.timestamp() == NOW + 86400
        ca = made([host])
        assert leaf.issuer == ca.subject
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        signer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert signer.key_identifier == own
        leaf.verify_directly_issued_by(ca)


def test_each_key_has_another_name() -> None:
    assert authority.name_of(KEY) != authority.name_of(AuthorityKey(authority.new_key(), NOW))
    assert "PRIVATE" not in repr(KEY)


def test_a_next_key_is_trusted_at_once_and_signs_later() -> None:
    keys = authority.rotated([KEY], NOW)
    later = NOW + authority.OVERLAP
    assert (authority.current(keys, NOW), authority.trusted(keys, NOW)) == (KEY, keys)
    assert (authority.current(keys, later), authority.trusted(keys, later)) == (keys[1], keys[1:])
    with pytest.raises(StoreError, match="there already"):
        authority.rotated(keys, NOW)
    assert authority.rotated(keys, later)[0] == keys[1]
    assert len(authority.rotated(keys, time.time(), at_once=True)) == 1


def test_the_first_key_signs_whenever_it_was_made() -> None:
    assert authority.current([KEY], NOW - 1) == KEY


def test_a_key_of_another_kind_is_refused() -> None:
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(StoreError, match="elliptic"):
        authority.name_of(AuthorityKey(other.decode(), NOW))
