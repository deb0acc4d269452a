"""The TLS of a route's upstream: whom to trust beside the public authorities, and which certificate to show."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl

from ..exceptions import DoubleOError
from ..transports.network_errors import tls_error
from ..transports.trust import Trust
from .errors import StoreError
from .models import Route, names_in
from .store.base import Store
from .tls_files import load_sealed


class UpstreamTLS:
    """The contexts of the routes that have authorities or a certificate of their own, each made once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[tuple[str | None, ...], ssl.SSLContext]] = {}

    async def context(self, route: Route) -> ssl.SSLContext | None:
        """What a route's connections are made with; None for what every other is. DoubleOError where the key is
        missing or does not fit."""
        if route.ca is None and route.cert is None:
            return None
        key = None
        for name in names_in(route.key or ""):
            key = await self._store.secret(name)
        made_of = (route.ca, route.cert, None if key is None else hashlib.sha256(key.encode()).hexdigest())
        kept = self._kept.get(route.name)
        if kept is None or kept[0] != made_of:
            context = await asyncio.to_thread(context_of, route.ca, route.cert, key)
            kept = self._kept[route.name] = (made_of, context)
        return kept[1]


def check(route: Route, key: str | None) -> None:
    """Refuse files of a route from which no connection could be made; `key` is the value of its secret."""
    if route.key is not None and (len(names_in(route.key)) != 1 or route.key != f"{{{names_in(route.key)[0]}}}"):
        raise StoreError("--key is the name of a secret in braces, as in {mtls-key}")
    if (route.cert is None) is not (route.key is None):
        raise StoreError("a certificate and its key go together: --cert FILE --key {secret}")
    if "PRIVATE KEY" in (route.cert or "") + (route.ca or ""):
        raise StoreError("a file of certificates holds a private key: keep that as a secret, and give --key {secret}")
    if route.ca is None and route.cert is None:
        return
    try:
        context_of(route.ca, route.cert, key)
        return
    except DoubleOError as error:
        why = str(error)
    raise StoreError(why)


def check_key(key: str) -> None:
    """Refuse what is no private key."""
    try:
        _sealed(key, b"x")
        return
    except DoubleOError as error:
        why = str(error)
    raise StoreError(why)


def context_of(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """A context that trusts the public authorities and those of `ca`, and shows `cert`. DoubleOError (reason "tls")
    where a text holds none of what it should."""
    context = Trust().context
    try:
        if ca is not None:
            context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise tls_error("the authorities of the route are no certificates in PEM") from None
    if cert is not None:
        _load(context, cert, key or "")
    return context


def _load(context: ssl.SSLContext, cert: str, key: str) -> None:
    passphrase = secrets.token_bytes(32).hex().encode()
    sealed = _sealed(key, passphrase)
    try:
        load_sealed(context, cert.encode() + b"\n" + sealed, passphrase)
        return
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        pass
    raise tls_error("the certificate of the route is none in PEM, or its key is another's")


def _sealed(key: str, passphrase: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    try:
        private = load_pem_private_key(key.encode("utf-8", "replace"), None)
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise tls_error("the key to the certificate is no private key in PEM without a passphrase")
