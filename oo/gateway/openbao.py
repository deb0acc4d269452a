"""A key of OpenBao's transit engine, which wraps data keys: it never leaves OpenBao, nor is anything stored there.

The token comes from the file that BAO_TOKEN_FILE names, read anew each time since an agent renews it, else from
BAO_TOKEN. It may `update` `MOUNT/encrypt/NAME` and `MOUNT/decrypt/NAME`, and nothing else.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import warnings
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._core.pipeline import run_sync
from .._core.warnings import outside
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from .._http.urls import is_loopback_host
from ..exceptions import DoubleOError
from .errors import StoreError, StoreUnavailable
from .paths import exposed

SCHEMES = {"openbao": "https", "openbao+http": "http"}
"""The schemes of its URLs, and how each is spoken to."""

_PATH = re.compile(r"/(?P<mount>[\w./-]+)/keys/(?P<name>[\w.-]+)", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,4096}")
_TIMEOUT = 5.0  # seconds for one answer
_MOST = 1 << 20  # bytes of one answer


class OpenBao:
    """The key that a URL names: `openbao://HOST:PORT/MOUNT/keys/NAME`, over TLS; `openbao+http://...` on this machine
    alone. BAO_CACERT names the authority of its certificate. StoreError for a URL that is none."""

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        path = _PATH.fullmatch(parts.path) if host else None
        if path is None or parts.username is not None or parts.query or parts.fragment:
            # Not quoted: it may hold a token.
            raise StoreError("OO_KMS holds what is no URL such as openbao://bao.example:8200/transit/keys/oo")
        scheme = SCHEMES[parts.scheme]
        if scheme == "http" and not is_loopback_host(host):
            raise StoreError(f"OO_KMS: {host} is not on this machine, so that it is spoken to over TLS: openbao://...")
        shown = f"[{host}]" if ":" in host else host
        self._origin = f"{scheme}://{shown}:{port or 8200}"
        self._mount, self._name = path["mount"], path["name"]
        self._environ = environ
        self.id = f"{self._mount}/keys/{self._name}"
        """What is kept beside what it has wrapped: OpenBao may move to another host."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Wrap a key with the newest version of OpenBao's, bound to a context."""
        wrapped = self._asked("encrypt", plaintext=_text(key), associated_data=_text(context)).get("ciphertext")
        if not isinstance(wrapped, str):
            raise self._odd()
        return wrapped.encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Unwrap a key. ValueError where it was not wrapped so."""
        data = self._asked("decrypt", ciphertext=wrapped.decode("ascii"), associated_data=_text(context))
        try:
            return base64.b64decode(data["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise self._odd() from None

    def _asked(self, what: str, **asked: str) -> dict[str, Any]:
        """The data of an answer; ValueError where OpenBao cannot do that with what it was given."""
        answer = self._sent(f"{self._origin}/v1/{self._mount}/{what}/{self._name}", json.dumps(asked).encode())
        if answer.status == HTTPStatus.OK:
            try:
                data = json.loads(answer.body)["data"]
            except (KeyError, TypeError, ValueError, RecursionError):
                data = None
            if isinstance(data, dict):
                return data
            raise self._odd()
        if answer.status == HTTPStatus.BAD_REQUEST and what == "decrypt":
            raise ValueError("it was not wrapped so")
        if answer.status in _REFUSED:
            raise StoreError(f"{self} refuses to {what}: {_REFUSED[answer.status]} (HTTP {answer.status})")
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise StoreUnavailable(f"{self} is sealed or is not ready (HTTP {answer.status})")
        raise StoreUnavailable(f"{self} answered {what} with HTTP {answer.status}")

    def _sent(self, url: str, body: bytes) -> Response:
        from ..transports.requests import RequestsTransport

        headers = Headers([("Content-Type", "application/json"), ("X-Vault-Token", self._token())])
        request = Request("POST", url, headers, body, timeout=_TIMEOUT, max_body_bytes=_MOST)
        transport = RequestsTransport(verify=self._tls)
        try:
            return run_sync(transport.send(request))
        except DoubleOError as error:
            failure = str(error)
        finally:
            run_sync(transport.close())
        # Outside of the except: the error holds the request, and so the token.
        raise StoreUnavailable(f"{self} does not answer: {failure}")

    def _token(self) -> str:
        where, token = "BAO_TOKEN", self._environ.get("BAO_TOKEN", "")
        if name := self._environ.get("BAO_TOKEN_FILE"):
            where = name
            try:
                path = Path(name).expanduser()
                token = path.read_text("utf-8").strip()
            except (OSError, RuntimeError, UnicodeDecodeError) as error:
                raise StoreError(f"BAO_TOKEN_FILE: {name} cannot be read: {type(error).__name__}") from None
            if why := exposed(path):
                warnings.warn(f"{why}, which is the token of {self.id}", stacklevel=outside())
        if not _TOKEN.fullmatch(token):
            raise StoreError(f"{where} holds no token for {self}: set BAO_TOKEN_FILE or BAO_TOKEN")
        return token

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        from ..transports.trust import Trust

        if self._origin.startswith("http:"):
            return None
        try:
            return Trust(self._environ.get("BAO_CACERT") or None).context
        except DoubleOError as error:
            raise StoreError(f"the certificates to trust {self} cannot be read: {error}") from None

    def _odd(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self} answered what OpenBao does not")

    def __str__(self) -> str:
        return f"the KMS at {self._origin} ({self.id})"


_REFUSED: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "there is no such key, or it is of another type",
    HTTPStatus.FORBIDDEN: "its token has expired or may not",
    HTTPStatus.NOT_FOUND: "there is no transit engine at that path",
}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
