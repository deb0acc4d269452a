"""Puts the route's headers, with the real secrets in them, into the request."""

from __future__ import annotations

import re

from ..._core.masking import basic_values
from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context
from ..store.base import Store
from .mask import hide

_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class InjectCredentials:
    """Sends the route's headers upstream, each placeholder replaced by its secret's value.

    DoubleOError if a secret is missing, or a value can't be sent. MaskResponse must enclose it, so that no secret comes
    back; without one nothing is sent (RuntimeError).
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route = gateway_context(request).route
        if route is None:
            return await call_next(request)
        secrets = {name: await self._store.secret(name) for name in route.secrets}
        known = {name: value for name, value in secrets.items() if value is not None}
        if len(known) < len(secrets):
            raise DoubleOError("a secret that it injects is missing", reason="argument")
        hidden = set(known.values())
        for name, value in route.headers(known).items():
            if not _VALUE.fullmatch(value):
                raise DoubleOError(f"the text it injects as {name} cannot be a header", reason="argument")
            request = request.with_header(name, value)
            hidden.update(basic_values(value))
        hide(request, hidden)
        return await call_next(request)
