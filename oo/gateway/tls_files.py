"""The gateway's own certificate and key, which are read again when they change, and how ssl is given a key."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile

from .errors import StoreError
from .throttled_log import ThrottledLog

logger = logging.getLogger("oo.gateway")

_INTERVAL = 4.0  # seconds between two looks


def server_context(cert: str, key: str) -> ssl.SSLContext:
    """What callers' connections are made with; StoreError where the files do not fit."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password, each worker would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise StoreError(f"the TLS files do not fit: {error.strerror or type(error).__name__}") from None
    return context


def load_sealed(context: ssl.SSLContext, pem: bytes, passphrase: bytes) -> None:
    """Have a context show a certificate, whose key beside it is sealed with a passphrase that never leaves this
    process. OSError or ValueError where they do not fit."""
    handle, path = tempfile.mkstemp(prefix=".oo-")  # of mode 0600: ssl reads keys from files alone
    try:
        with open(handle, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path, password=passphrase)
    finally:
        os.unlink(path)


class TLSFiles:
    """A certificate chain and its key, both PEM files. `context` serves what was read last: a handshake is given the
    latest files that fit, connections that are open stay as they are."""

    def __init__(self, cert: str, key: str) -> None:
        """StoreError where the files do not fit."""
        self._files = (cert, key)
        self._seen = self._stamps()
        self.context = self._current = server_context(cert, key)
        # OpenSSL asks this of every handshake, with or without a name. To load the files into a context in use would
        # leave it half changed where the key does not fit.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def reload(self) -> None:
        """Read the files again. Where they do not fit, the ones before stay, and it is logged."""
        seen = self._stamps()
        try:
            self._current = server_context(*self._files)
        except StoreError as error:
            self._errors.say(f"{error}; the ones before are used")
        else:
            self._seen = seen
            logger.info("the TLS files were read again")

    async def watch(self) -> None:
        """Read the files again whenever they have changed, without end."""
        while True:
            await asyncio.sleep(_INTERVAL)
            if self._stamps() != self._seen:
                self.reload()

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._files]

    _errors = ThrottledLog()


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
