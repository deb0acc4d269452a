"""The base-URL front: answers what the clients send, and writes each decision to the audit."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Mapping

from aiohttp import HttpVersion11, web

from ..._core.errors import SOURCE
from ..._http.body import Outcome
from ..._http.json import JSON
from ..._http.response import Response
from ..._http.urls import proxied
from ...exceptions import DoubleOError
from ..audit_log import Audit
from ..context import GatewayContext
from ..errors import Conflict, Refusal
from ..headers import caller_headers, upstream_request
from ..http_server._aiohttp_patches import has_begun
from ..idempotency import Claim, claimed
from ..models import Denial, Grant, Route, StoredResponse
from ..store.base import Store
from ..upstream import Upstreams
from .body_reader import read_body
from .wire import answer_headers, relay

logger = logging.getLogger("oo.gateway")

# TRACE echoes the injected headers, CONNECT opens a tunnel.
_NEVER = {"CONNECT", "TRACE", "TRACK"}
_USUAL = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_KEY = re.compile("[ -~]{1,255}")


class Call:
    """One request of a caller's, and its context."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.context = GatewayContext()
        self.context.started = time.perf_counter()
        self.context.peer = request.remote


class Front:
    """Answers the gateway's requests. The HTTP server calls `handle`, and `refuse` for what is no HTTP."""

    def __init__(self, store: Store, upstreams: Upstreams, audit: Audit | None = None) -> None:
        self._store = store
        self._upstreams = upstreams
        self._audit = audit

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Every answer has an `X-Request-Id`."""
        call = Call(request)
        outcome = call.context.outcome
        response: web.StreamResponse
        try:
            response = await self._answer(call)
            outcome = call.context.outcome
        except Refusal as refusal:
            response = _json(refusal.status, {"error": refusal.said}, refusal.headers)
            outcome = refusal.outcome
        except asyncio.CancelledError:
            self._note(call, "left", 499)
            raise
        except ConnectionError:
            # This is the caller's connection; a failure of the upstream's is a DoubleOError.
            self._note(call, "left", 499)
            return web.Response(status=499)
        except Exception as error:
            # Neither the caller nor the log gets the error's text, which may quote the request or the vault.
            logger.error("request %s failed: %s", call.context.id, type(error).__name__)  # noqa: TRY400  # as above
            if has_begun(request) and request.transport is not None:
                request.transport.abort()  # half an answer must not look whole
            response = _json(500, {"error": "the gateway failed"})
        if not response.prepared:
            response.headers["X-Request-Id"] = call.context.id
        if call.context.endpoint != "health":
            self._note(call, outcome, response.status)
        return response

    def refuse(self, request: web.BaseRequest) -> web.Response:
        """Answer what is not HTTP, without quoting it."""
        call = Call(request)
        response = _json(400, {"error": "the request is not valid HTTP"}, {"X-Request-Id": call.context.id})
        self._note(call, "bad request", response.status)
        return response

    def _note(self, call: Call, outcome: str, status: int) -> None:
        if self._audit is not None:
            self._audit.write(
                request_id=call.context.id,
                token_id=call.context.token_id,
                operation=call.context.endpoint,
                target=call.context.target,
                outcome=outcome,
                status=status,
                ms=(time.perf_counter() - call.context.started) * 1000,
            )

    async def _answer(self, call: Call) -> web.StreamResponse:
        request = call.request
        hosts = len(request.headers.getall("Host", ()))
        if hosts != 1 and (hosts or request.version >= HttpVersion11):
            raise Refusal(400, "the request needs one Host", "bad request")  # RFC 9112, 3.2
        target = request.raw_path
        path = target.partition("?")[0]
        if path == "/health" and request.method in ("GET", "HEAD"):
            call.context.endpoint = "health"
            return _answered(call, {"status": "ok"})
        if path == "/api/secret" and request.method == "GET":
            call.context.endpoint = "secret"
            return _answered(call, {"value": await self._secret(call)})
        if path == "/api/env" and request.method == "GET":
            call.context.endpoint = "env"
            return _answered(call, {"secrets": await self._env(call)})
        if path.startswith("/api/proxy/"):
            call.context.endpoint = "proxy"
            return await self._proxy(call, target[len("/api/proxy/") :])
        raise Refusal(404, "there is nothing here", "no such place")

    async def _secret(self, call: Call) -> str:
        grant = _granted(call, await self._store.consume(_bearer(call.request), "secret"))
        value = await self._store.secret(grant.name)
        if value is None:
            raise _unauthorized("gone")
        return value

    async def _env(self, call: Call) -> dict[str, str]:
        grant = _granted(call, await self._store.consume(_bearer(call.request), "env"))
        variables = await self._store.environment(grant.name)
        if variables is None:
            raise _unauthorized("gone")
        return variables

    async def _proxy(self, call: Call, path: str) -> web.StreamResponse:
        request, token = call.request, _bearer(call.request)
        key = _idempotency_key(request)
        # Look up without consuming: a replayed call must not consume a use.
        look = self._store.consume if key is None else self._store.authorize
        grant = _granted(call, await look(token, "route"))
        route = await self._store.route(grant.name)
        if route is None:
            raise _unauthorized("gone")
        target = _allowed(route, request, path)
        body = await read_body(request)
        if key is None:
            return await self._relay(call, await self._forward(call, route, target, body))
        described = "\0".join((request.method, route.name, target, "")).encode() + (body or b"")
        try:
            claim = await claimed(self._store, grant.token_id, key, described, route.timeout)
        except Conflict as conflict:
            raise Refusal(conflict.status, conflict.said, "idempotency conflict") from None
        if claim.result is not None:
            call.context.outcome = "allowed"
            return _returned(claim.result)
        return await self._upstreams.run_to_completion(self._make(call, token, route, target, body, claim))

    async def _make(
        self, call: Call, token: str, route: Route, target: str, body: bytes | None, claim: Claim
    ) -> web.StreamResponse:
        async with claim:
            _granted(call, await self._store.consume(token, "route"))
            return await self._relay(call, await self._forward(call, route, target, body), claim)

    async def _forward(self, call: Call, route: Route, target: str, body: bytes | None) -> Response:
        request = call.request
        upstream = upstream_request(route, request.method, target, request.headers.items(), body, call.context)
        try:
            return await self._upstreams.handle(upstream)
        except DoubleOError as error:
            raise _failed(f"the upstream of route {route.name} failed", error) from None

    async def _relay(self, call: Call, response: Response, claim: Claim | None = None) -> web.StreamResponse:
        if claim is not None:
            response = claim.recorded(response, caller_headers(response))
        response = response.on_end(lambda end: _note_end(call.context, end))
        try:
            return await relay(call.request, call.context.id, response, lambda: claim is not None and claim.recording)
        except DoubleOError as error:
            raise _failed("the upstream's answer broke off", error) from None


def _note_end(context: GatewayContext, end: Outcome) -> None:
    context.outcome = "allowed" if end == "complete" else "broken off"


def _granted(call: Call, outcome: Grant | Denial) -> Grant:
    call.context.token_id = outcome.token_id
    if isinstance(outcome, Grant):
        call.context.target = outcome.name
        return outcome
    call.context.target = None  # which an earlier look may have set
    raise _denied(outcome)


def _bearer(request: web.BaseRequest) -> str:
    fields = request.headers.getall("Authorization", [])
    scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("no token")
    return token.strip()


def _unauthorized(why: str, reason: str = "") -> Refusal:
    # One body for whatever is no token, so that it doesn't tell what exists. Who holds a token is told the `reason`.
    return Refusal(401, "the token was not accepted" + reason, why, {"WWW-Authenticate": "Bearer"})


def _failed(what: str, error: DoubleOError) -> Refusal:
    slow = error.reason in ("timeout", "deadline")
    return Refusal(504 if slow else 502, f"{what}: {error}", f"upstream {error.reason}")


def _denied(denial: Denial) -> Refusal:
    if denial.retry_after is None:
        return _unauthorized(denial.why, f": {denial.reason}" if denial.reason else "")
    wait = {"Retry-After": str(math.ceil(denial.retry_after))}  # RFC 9110, 10.2.3: whole seconds
    return Refusal(429, "this token is used too often", denial.why, wait)


def _allowed(route: Route, request: web.BaseRequest, path: str) -> str:
    try:
        target = proxied(path)
    except ValueError as error:
        raise Refusal(400, str(error), "bad path") from None
    if request.method in _NEVER or not request.method.isalpha() or not request.method.isupper():
        raise Refusal(405, "that method is not passed on", "not allowed", {"Allow": _USUAL})
    if not route.allows(request.method, target.partition("?")[0]):
        raise Refusal(403, "the route of this token does not allow that method and path", "not allowed")
    return target


def _idempotency_key(request: web.BaseRequest) -> str | None:
    keys = request.headers.getall("Idempotency-Key", ())
    if not keys or request.method in ("GET", "HEAD"):
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise Refusal(400, "the Idempotency-Key must be one text of 1 to 255 ASCII characters", "bad request")
    return keys[0]


def _returned(result: StoredResponse) -> web.Response:
    return web.Response(status=result.status, headers=answer_headers(result.headers), body=result.body)


def _answered(call: Call, data: Mapping[str, JSON]) -> web.Response:
    call.context.outcome = "allowed"
    return _json(200, data)


def _json(status: int, data: Mapping[str, JSON], headers: Mapping[str, str] | None = None) -> web.Response:
    fields = answer_headers((headers or {}).items())
    fields["Cache-Control"], fields[SOURCE] = "no-store", "gateway"
    body = json.dumps(data).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=fields)
