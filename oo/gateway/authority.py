"""The gateway's certificate authority: what a token's holder is given to trust, and the certificates of hosts. Pure.

A certificate of the authority names the hosts that it may speak for (RFC 5280, 4.2.1.10), so whoever steals its key can
deceive those who trust it about no other host.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from .._http.urls import address
from .errors import StoreError
from .models import AuthorityKey

OVERLAP = 30 * 86400.0
"""Seconds for which a new key is trusted before it signs."""
LEAF_LIFE = 86400.0
"""Seconds that the certificate of a host is valid for."""

_CA_LIFE = 366 * 86400.0  # seconds
_EARLY = 3600.0  # seconds: the clock of a caller may be slow
_NO_HOST = "invalid"  # RFC 2606: a name that no host has
_EVERY_ADDRESS = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def new_key() -> str:
    """A new private key of an authority (EC P-256), in PEM."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def current(keys: Sequence[AuthorityKey], now: float) -> AuthorityKey:
    """The key that signs: of those that do so by now, the last."""
    return [keys[0], *(key for key in keys[1:] if key.since <= now)][-1]


def trusted(keys: Sequence[AuthorityKey], now: float) -> list[AuthorityKey]:
    """The keys that callers have to trust: the one that signs, and those that will."""
    return list(keys[keys.index(current(keys, now)) :])


def rotated(keys: Sequence[AuthorityKey], now: float, *, at_once: bool = False) -> list[AuthorityKey]:
    """The keys with a new one, which signs once it was trusted for as long as OVERLAP, or at once and alone. StoreError
    where one waits already."""
    if at_once:
        return [AuthorityKey(new_key(), now)]
    left = trusted(keys, now)
    if len(left) > 1:
        raise StoreError("a next key of the authority is there already: it signs from its time on, or `--now`")
    return [*left, AuthorityKey(new_key(), now + OVERLAP)]


def name_of(key: AuthorityKey) -> str:
    """The name of the authority with that key: each key has another."""
    return f"Double-O {_identity(_load(key).public_key())[:16]}"


def ca_certificate(key: AuthorityKey, hosts: Sequence[str], now: float) -> str:
    """The authority's certificate in PEM, for some hosts alone: names and what is below them, and addresses."""
    private = _load(key)
    public, name = private.public_key(), _name(key)
    builder = (
        _certificate(name, public, now, _CA_LIFE)
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_constraints(hosts), critical=True)
    )
    return _signed(builder, private)


def leaf_certificate(key: AuthorityKey, host: str, public: ec.EllipticCurvePublicKey, now: float) -> str:
    """The certificate of one host in PEM, of somebody's public key."""
    private = _load(key)
    ip = address(host)
    # Its subject is empty, so that what it is for stands in one place (RFC 5280, 4.2.1.6).
    builder = (
        _certificate(_name(key), public, now, LEAF_LIFE)
        .subject_name(x509.Name([]))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) if ip is None else x509.IPAddress(ip)]), critical=True
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
    )
    return _signed(builder, private)


def _constraints(hosts: Sequence[str]) -> x509.NameConstraints:
    addresses = [ip for host in hosts if (ip := address(host)) is not None]
    names = [host for host in hosts if address(host) is None]
    # A kind of names without any that is permitted would be free.
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names or [_NO_HOST]]
    permitted += [x509.IPAddress(ipaddress.ip_network(ip)) for ip in addresses]
    versions = {ip.version for ip in addresses}
    excluded = [x509.IPAddress(every) for every in _EVERY_ADDRESS if every.version not in versions]
    return x509.NameConstraints(permitted, excluded or None)


def _certificate(
    issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: float, life: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - _EARLY))
        .not_valid_after(_moment(now + life))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, private: ec.EllipticCurvePrivateKey) -> str:
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _load(key: AuthorityKey) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(key.private.encode(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise StoreError("the key of the authority is none of an elliptic curve")
    return private


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _name(key: AuthorityKey) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name_of(key))])


def _identity(public: ec.EllipticCurvePublicKey) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(serialization.Encoding.DER, spki)).hexdigest()


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
