"""HTTPS upstreams of the tests' own: names that resolve to loopback, under a certificate authority that nobody else
trusts."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.upstream import OpenAI, Upstream

HOSTS = ("api.test", "ws.test", "other.test")
"""The names that resolve to 127.0.0.1."""
ADDRESSES: dict[str, list[tuple[str, int] | str]] = {host: ["127.0.0.1"] for host in HOSTS}


class PrivateCA:
    """An authority: `pem` is what a route's `ca` says, `context` a server's side for all HOSTS."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the tests' own authority")])
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # Python 3.13 verifies strictly.
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        made = made.add_extension(x509.KeyUsage(*(index in (5, 6) for index in range(7)), False, False), critical=True)
        signed = made.sign(self._key, hashes.SHA256())
        self.pem = signed.public_bytes(serialization.Encoding.PEM).decode()

    def context(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host) for host in HOSTS]
        made = self._builder(x509.Name([]), key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=True)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(signer, critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        file = self._directory / "upstream.both"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )


class OverTLS(Upstream):
    """Answers over TLS, by a name: `url` has it. `port` is one for every name."""

    def __init__(self, tls: ssl.SSLContext, host: str = "api.test") -> None:
        super().__init__()
        self.tls, self.host = tls, host

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        await asyncio.sleep(0.1)  # in which the loop closes what was cut there


class OpenAIOverTLS(OverTLS, OpenAI):
    """The upstream of OpenAI's shapes, over TLS."""
