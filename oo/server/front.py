"""The front: the wire of the clients, answered over a store."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping

from aiohttp import web
from multidict import CIMultiDict

from .._messages import JSON
from .._paths import proxied
from .._pipeline import Pipeline, Transport
from ..exceptions import DoubleOError
from .proxy import caller_headers, proxy_pipeline, upstream_request
from .store import Store

logger = logging.getLogger("oo.server")

MAX_BODY = 64 << 20
"""Bytes of a request's body that are taken."""


class Refusal(Exception):
    """An answer other than success: a status and the words for the caller."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class Front:
    """Answers the gateway's requests. `handle` is what aiohttp.web's Server calls."""

    def __init__(self, store: Store, transport: Transport) -> None:
        self._store = store
        self._pipeline: Pipeline = proxy_pipeline(store, transport)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, one answer, always with an `X-Request-Id`."""
        request_id = uuid.uuid4().hex
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = _json(refusal.status, {"error": refusal.said})
        except Exception:
            # No traceback goes to a caller, and none of its request to a log.
            logger.exception("request %s failed", request_id)
            response = _json(500, {"error": "the gateway failed"})
        response.headers["X-Request-Id"] = request_id
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        target = request.raw_path
        place = target.partition("?")[0]
        if place == "/health" and request.method in ("GET", "HEAD"):
            return _json(200, {"status": "ok"})
        if place == "/api/secret" and request.method == "GET":
            return await self._secret(request)
        if place == "/api/env" and request.method == "GET":
            return await self._env(request)
        if place.startswith("/api/proxy/"):
            return await self._proxy(request, target[len("/api/proxy/") :])
        raise Refusal(404, "there is nothing here")

    async def _secret(self, request: web.BaseRequest) -> web.Response:
        lease = await self._store.redeem(_bearer(request), "secret")
        value = await self._store.secret(lease.name) if lease else None
        if value is None:
            raise _unauthorized()
        return _json(200, {"value": value})

    async def _env(self, request: web.BaseRequest) -> web.Response:
        lease = await self._store.redeem(_bearer(request), "env")
        variables = await self._store.environment(lease.name) if lease else None
        if variables is None:
            raise _unauthorized()
        return _json(200, {"secrets": variables})

    async def _proxy(self, request: web.BaseRequest, path: str) -> web.Response:
        token = _bearer(request)
        lease = await self._store.redeem(token, "route")
        route = await self._store.route(lease.name) if lease else None
        if route is None:
            raise _unauthorized()
        try:
            place = proxied(path)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        body = await _body(request)
        upstream = upstream_request(route, token, request.method, place, request.headers.items(), body)
        try:
            response = await self._pipeline.handle(upstream)
        except DoubleOError as error:
            slow = error.reason in ("timeout", "deadline")
            raise Refusal(504 if slow else 502, f"the upstream of route {route.name} failed: {error}") from None
        headers = CIMultiDict(caller_headers(response))
        return web.Response(status=response.status, headers=headers, body=response.body)


def _bearer(request: web.BaseRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized()
    return token.strip()


def _unauthorized() -> Refusal:
    # One body for every reason, so that it tells nothing of what exists.
    return Refusal(401, "the token was not accepted")


async def _body(request: web.BaseRequest) -> bytes | None:
    if not request.body_exists:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise Refusal(413, f"the request's body is larger than {MAX_BODY} bytes")
    return bytes(body)


def _json(status: int, data: Mapping[str, JSON]) -> web.Response:
    body = json.dumps(data).encode()
    return web.Response(
        status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
