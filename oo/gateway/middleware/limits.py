"""Pays the use of a token that a call costs."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..context import gateway_context
from ..store.base import Store
from .authorize import granted


class Limits:
    """Counts a use of the token, unless the call needs none or its claim has counted it.

    Unauthorized if none is left.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.kind is not None and not context.paid:
            granted(context, await self._store.consume(context.token, context.kind))
            context.paid = True
        return await call_next(request)
