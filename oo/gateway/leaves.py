"""The certificates of hosts that this process shows in tunnels, each with the context that is made of it."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import threading
import time
from functools import partial

from cachetools import TTLCache
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .authority import LEAF_LIFE, leaf_certificate
from .models import AuthorityKey
from .tls_files import load_sealed

_HOSTS = 256  # whose contexts are kept


class Leaves:
    """The contexts of hosts, of which one is made off the event loop and kept for half of its certificate's life. All
    certificates are of one key, which no other process has."""

    def __init__(self) -> None:
        self._kept: TTLCache[tuple[str, str], ssl.SSLContext] = TTLCache(_HOSTS, LEAF_LIFE / 2)
        self._flights: dict[tuple[str, str], asyncio.Future[ssl.SSLContext]] = {}
        self._making = threading.Lock()
        self._key: _Key | None = None

    async def context(self, authority: AuthorityKey, host: str) -> ssl.SSLContext:
        """What a tunnel to a host is ended with: TLS 1.2 and up, HTTP/1.1, and no other name than the host's."""
        key = (authority.private, host)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(asyncio.to_thread(self._made, authority, host))
            flight.add_done_callback(partial(self._landed, key))
        return await asyncio.shield(flight)

    def _landed(self, key: tuple[str, str], flight: asyncio.Future[ssl.SSLContext]) -> None:
        del self._flights[key]
        if not flight.cancelled() and flight.exception() is None:
            self._kept[key] = flight.result()

    def _made(self, authority: AuthorityKey, host: str) -> ssl.SSLContext:
        key = self._own_key()
        certificate = leaf_certificate(authority, host, key.public, time.time())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.num_tickets = 0  # a session that is resumed would skip what the token opens
        context.sni_callback = partial(_check_name, host)
        load_sealed(context, certificate.encode() + key.sealed, key.passphrase)
        return context

    def _own_key(self) -> _Key:
        with self._making:
            if self._key is None:
                self._key = _Key()
            return self._key


class _Key:
    """The key of this process, and as ssl may read it: sealed with a passphrase that never leaves the process."""

    def __init__(self) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        self.public = private.public_key()
        self.passphrase = secrets.token_bytes(32).hex().encode()
        # A random passphrase needs no rounds of derivation, which PKCS8 would take for every context.
        form, encryption = serialization.PrivateFormat.TraditionalOpenSSL, serialization.BestAvailableEncryption
        self.sealed = private.private_bytes(serialization.Encoding.PEM, form, encryption(self.passphrase))


def _check_name(host: str, _connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
    # RFC 6066, 3: a name is no address, and a tunnel is for the host that its CONNECT names.
    return None if name is None or name.lower().removesuffix(".") == host else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
