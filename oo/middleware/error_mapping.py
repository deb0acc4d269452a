"""ErrorMapping: whatever went wrong below becomes the operation's error, without a token or a secret in it."""

from __future__ import annotations

from .._core.errors import buffer_if_error, to_call_error
from .._core.masking import seen_values
from .._core.pipeline import CallNext
from .._http.request import Request
from .._http.response import Response


class ErrorMapping:
    """Turns a transport's failures, error statuses and unreadable answers into the four errors. It stands inside
    Retry, so that each attempt's error says whether another attempt may help."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = request.context
        if context.token not in seen_values.recent:
            seen_values.add(context.token)
        try:
            response = await call_next(request)
            if response.stream is not None:
                response = await buffer_if_error(response)
            response.parse()
            if context.operation == "secret":
                if response.value not in seen_values.recent:
                    seen_values.add(response.value)
            elif context.operation == "env":
                for value in response.value.values():
                    seen_values.add(value)
            return response
        except Exception as error:
            failure = to_call_error(error, request)
            if failure is None:
                raise
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame, and would hold the request with it until it is collected
