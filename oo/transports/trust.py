"""Whose certificates are trusted, and which one is shown: one rule for every transport."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from functools import cached_property
from typing import TypeAlias

from .._http.request import Request
from .network_errors import tls_error

Verify: TypeAlias = "str | os.PathLike[str] | ssl.SSLContext | None"
"""A file or folder of authorities, or an SSLContext; None for what the environment or the system names."""

Certificate: TypeAlias = "str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None"
"""A PEM file of a certificate and its key, or a file for each."""

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Trust:
    """Decides which servers are trusted: by `verify`; else by the file or folder of REQUESTS_CA_BUNDLE, else of
    CURL_CA_BUNDLE, else by SSL_CERT_FILE and SSL_CERT_DIR; else by the system's store and certifi's. `cert` is shown to
    a server that asks for one. The environment is read once, here; files are read by the first call over TLS."""

    def __init__(self, verify: Verify = None, cert: Certificate = None) -> None:
        """TypeError or ValueError for arguments that cannot be."""
        if isinstance(verify, bool) or not isinstance(verify, (str, os.PathLike, ssl.SSLContext, type(None))):
            raise TypeError("verify must be a path or an ssl.SSLContext; to trust anyone, pass an SSLContext that does")
        if cert is not None and isinstance(verify, ssl.SSLContext):
            raise ValueError("cert goes into the SSLContext that verify gives: call its load_cert_chain()")
        self._given = verify
        self._cert = cert
        if isinstance(verify, (str, os.PathLike)):
            self._sources = [("verify", os.fspath(verify))]
        else:
            bundle = next(((name, path) for name in _BUNDLES if (path := os.environ.get(name))), None)
            self._sources = [bundle] if bundle else list(_openssl_s())

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What every connection is made with. DoubleOError (reason "tls") where a file cannot be read."""
        if isinstance(self._given, ssl.SSLContext):
            context = self._given
        else:
            context = self._with_authorities()
            context.set_alpn_protocols(["http/1.1"])
            self._load_certificate(context)
        # With it, the end of a connection looks as it does after close_notify (OpenSSL 3).
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context

    def of(self, request: Request) -> ssl.SSLContext:  # noqa: ARG002  # who trusts others for some asks it
        """What the connection for one request is made with."""
        return self.context

    def _with_authorities(self) -> ssl.SSLContext:
        if not self._sources:
            import certifi

            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
            return context
        name = ""
        try:
            # Given a path, it leaves the system's store out.
            context = ssl.create_default_context(capath=os.devnull)
            for name, path in self._sources:  # noqa: B007  # for the error below
                folder = os.path.isdir(path)
                context.load_verify_locations(None if folder else path, path if folder else None)
            return context
        except OSError:  # ssl.SSLError is one
            pass
        raise tls_error(f"the certificates that {name} names cannot be read")

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        if self._cert is None:
            return
        file, key = self._cert if isinstance(self._cert, tuple) else (self._cert, None)
        try:
            # Without a password OpenSSL asks for one at the terminal.
            context.load_cert_chain(file, key, password="")
            return
        except (OSError, ValueError):
            pass
        raise tls_error("the certificate or the key that cert names cannot be read")


def _openssl_s() -> Iterator[tuple[str, str]]:
    """The files and folders that OpenSSL's own variables name."""
    if file := os.environ.get("SSL_CERT_FILE"):
        yield "SSL_CERT_FILE", file
    for folder in os.environ.get("SSL_CERT_DIR", "").split(os.pathsep):
        if folder:
            yield "SSL_CERT_DIR", folder
