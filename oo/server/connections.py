"""aiohttp.web's server, less its habit of quoting what it could not read, to the caller and to the log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

logger = logging.getLogger("oo.server")

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Answers a request."""

Refuse: TypeAlias = Callable[[web.BaseRequest], web.Response]
"""Answers what was no request; the connection ends after it."""


class Server(web.Server):
    """Hands requests to `answer`, bodies as they were sent, and what is no HTTP to `refuse`."""

    def __init__(self, answer: Answer, refuse: Refuse) -> None:
        # Cancelled with its caller's connection: an upstream call that nobody waits for is not made to its end.
        super().__init__(answer, handler_cancellation=True, access_log=None, auto_decompress=False)
        self.refuse = refuse

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self.refuse, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_refuse",)

    def __init__(self, server: Server, refuse: Refuse, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._refuse = refuse

    def handle_error(self, request: web.BaseRequest, *_what: object) -> web.StreamResponse:
        response = self._refuse(request)
        response.force_close()
        return response

    def log_exception(self, *_what: object, exc_info: object = None) -> None:
        logger.error("a connection failed: %s", type(exc_info).__name__)
