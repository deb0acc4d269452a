"""RequestsTransport: the blocking transport, over requests' adapter."""

from __future__ import annotations

import os
import threading
import time
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests import Response as Answer
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, RequestException, Timeout
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import SKIP_HEADER

from .._io import BlockingIO
from .._messages import Headers, Request, Response
from ..exceptions import DoubleOError
from ._body import ACCEPT_ENCODING, CHUNK, Decoder, declared, read_all
from ._edge import Proxies, broken, nonsense, time_left, timed_out
from ._timed import POOLS, until

_POOL = 1024  # connections kept for each host: no thread has to open its own anew


class RequestsTransport:
    """Sends a prepared request straight through one pool of connections.

    No redirects, no cookies, no netrc; proxies and REQUESTS_CA_BUNDLE are read from the environment once. Safe to
    share between threads, and made anew after a fork.
    """

    def __init__(self) -> None:
        self.io = BlockingIO()
        self._proxies = Proxies()
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._making = threading.Lock()
        self._open()

    async def send(self, request: Request) -> Response:
        """The answer, its body read whole; DoubleOError where there is none."""
        if self._pid != os.getpid():
            # The parent's sockets: two processes on one would read each other's answers.
            self._making = threading.Lock()
            self._open()
        seconds, limit = time_left(request, time.monotonic())
        until.instant = time.monotonic() + seconds
        try:
            answer = self._adapter.send(
                _prepared(request),
                stream=True,
                timeout=seconds,
                verify=self._verify,
                proxies=self._proxies_for(request.url),
            )
            try:
                return _read(answer, request)
            except BaseException:
                answer.raw.close()
                raise
        except DoubleOError as error:
            failure = error
        except (RequestException, HTTPError, OSError, ValueError) as error:
            failure = _translated(error, limit)
        # Out here: the foreign error holds the request and so the token, and must not become the context.
        raise failure

    async def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _open(self) -> None:
        with self._making:
            self._adapter = HTTPAdapter(pool_maxsize=_POOL)
            self._adapter.poolmanager.pool_classes_by_scheme = POOLS
            self._pid = os.getpid()

    def _proxies_for(self, url: str) -> dict[str, str] | None:
        parts = urlsplit(url)
        proxy = self._proxies.of(parts.scheme, parts.hostname or "")
        return {parts.scheme: proxy} if proxy else None


def _prepared(request: Request) -> PreparedRequest:
    # Filled in by hand: the URL is built and checked already, and `prepare()` would take it apart again.
    prepared = PreparedRequest()
    prepared.method = request.method
    prepared.url = request.url
    prepared.body = request.body
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(request.headers.pairs())
    headers.setdefault("Accept-Encoding", ACCEPT_ENCODING)
    headers.setdefault("User-Agent", SKIP_HEADER)
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
    elif request.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = "0"
    prepared.headers = headers
    prepared._cookies = None  # type: ignore[attr-defined]  # requests' own, which its stubs leave out
    return prepared


def _read(answer: Answer, request: Request) -> Response:
    raw = answer.raw
    headers = Headers(raw.headers.items())
    expected = declared(headers)
    if expected is not None and "Transfer-Encoding" in headers:
        # RFC 9112, 6.1: both framings at once is how answers are smuggled.
        raise nonsense()
    decoder = Decoder(headers, request.limit)
    body = read_all(lambda: raw.read(CHUNK, decode_content=False), decoder)
    raw.release_conn()
    return Response(answer.status_code, headers, body, request=request)


def _translated(error: Exception, limit: str) -> DoubleOError:
    if isinstance(error, (Timeout, ReadTimeoutError, TimeoutError)):
        return timed_out(limit)
    # requests' own exceptions are OSErrors, and some of them ValueErrors too.
    if isinstance(error, (InvalidHeader, ValueError)):
        return nonsense()
    return broken(error)
