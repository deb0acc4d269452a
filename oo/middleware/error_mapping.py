"""ErrorMapping: whatever went wrong below becomes the operation's error, without a token or a secret in it."""

from __future__ import annotations

from .._core.errors import error_body, mask_of, meet, request_id, retry_after, short, words_of
from .._core.masking import Mask, met
from .._core.pipeline import CallNext
from .._http.request import JSON, Request, Response
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError
from ._foreign import translated

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which the same call may succeed."""

_TASKS = {
    "secret": "fetch the secret",
    "env": "fetch the environment",
    "proxy": "make the proxied call",
    "health": "check the server's health",
}


class ErrorMapping:
    """Turns a transport's failures, statuses and unreadable answers into the four errors. Stands inside Retry, so
    that each attempt fails with an error that says whether another may help."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        met.add(request.token)
        try:
            response = await call_next(request)
            if response.stream is not None:
                response = await settled(response)
            response.read()
            meet(response)
            return response
        except Exception as error:
            failure = failure_of(error, request)
            if failure is None:
                raise
        raise failure


async def settled(response: Response) -> Response:
    """A streamed response as it is where it succeeded; where it did not, its body read whole, for the error."""
    return response if 200 <= response.status < 300 else await response.whole()


def failure_of(error: Exception, request: Request) -> DoubleOError | None:
    """What the caller is to get for `error`; None where it is no failure of the call but a bug, to travel on whole."""
    ours = error if isinstance(error, DoubleOError) else translated(error)
    return None if ours is None else mapped(ours, request)


def mapped(error: DoubleOError, request: Request) -> DoubleOError:
    """`error` as the operation's own; one that already is of the four stays as it is."""
    if type(error) is not DoubleOError:
        return error
    own = error.become(ERROR_OF[request.operation])
    own.args = (_message(request, str(error)),)
    # Retry sees no error of a stream that breaks off once it has begun.
    own.attempts = request.extensions.get("attempts", error.attempts)
    return own


def overdue(request: Request) -> DoubleOError:
    """The operation's error for a call whose deadline has passed."""
    message = _message(request, "the deadline of the call passed")
    return ERROR_OF[request.operation](message, reason="deadline")


def check_status(response: Response) -> None:
    """Raise the operation's error where the status is no 2xx (RFC 9110, 15)."""
    status, request = response.status, response.request
    if 200 <= status < 300:
        return
    body = error_body(response)
    kind = AuthenticationError if status == 401 else ERROR_OF[request.operation]
    said = short(words_of(body))
    text = f"the server answered {status}" + (f": {said}" if said else "") + _HINTS.get(status // 100, "")
    if status == 401:
        text = f"the token was not accepted (401){f': {said}' if said else ''}; is it whole, current and for this call?"
    raise kind(
        _message(request, text),
        status=status,
        reason="status",
        request_id=request_id(response),
        retry_after=retry_after(response.headers.get("Retry-After")),
        body=body if request.operation == "proxy" else None,
        retryable=status in RETRYABLE,
    )


def answer_error(response: Response, said: JSON) -> DoubleOError:
    """The error that a 200 `{"error": said}` stands for."""
    request = response.request
    words = mask_of(request).text(words_of(said))
    accused = any(word in words.lower() for word in ("auth", "token"))
    kind = AuthenticationError if accused else ERROR_OF[request.operation]
    message = _message(request, f"the server answered with an error: {short(words)}")
    return kind(message, status=response.status, reason="answer", request_id=request_id(response))


def _message(request: Request, what: str) -> str:
    base = f" at {request.base_url}" if request.base_url else ""
    text = f"could not {_TASKS[request.operation]} ({request.method} {request.path}{base}): {what}"
    return Mask([request.token]).text(text)


_HINTS = {3: "; redirects are not followed: is the base URL right?"}
