"""ErrorMapping: whatever went wrong below becomes the operation's error, without a token or a secret in it."""

from __future__ import annotations

from .._core.errors import buffer_if_error, remember, to_call_error
from .._core.masking import seen_values
from .._core.pipeline import CallNext
from .._http.request import Request
from .._http.response import Response


class ErrorMapping:
    """Turns a transport's failures, statuses and unreadable answers into the four errors. Stands inside Retry, so
    that each attempt fails with an error that says whether another may help."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        seen_values.add(request.context.token)
        try:
            response = await call_next(request)
            if response.stream is not None:
                response = await buffer_if_error(response)
            response.parse()
            remember(response)
            return response
        except Exception as error:
            failure = to_call_error(error, request)
            if failure is None:
                raise
        raise failure
