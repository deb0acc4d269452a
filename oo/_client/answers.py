"""What an answer means: each operation's reading of its Response. Pure functions, the same in both worlds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .._core.errors import answer_error, check_status, with_operation
from .._http.json import JSON
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError


def parse_secret(response: Response) -> str:
    """The value of `{"value": "..."}`."""
    value = _member(response, "value")
    if not isinstance(value, str) or not _is_text(value):
        raise _nonsense(response, "the secret's value is not a string of whole characters")
    return value


def parse_env(response: Response) -> Mapping[str, str]:
    """The variables of `{"secrets": {"NAME": "value"}}`, read-only: the answer may be stored for others."""
    values = _member(response, "secrets")
    if not isinstance(values, dict):
        raise _nonsense(response, "the environment's variables are not an object")
    if not all(isinstance(value, str) and _is_text(value) and _is_text(name) for name, value in values.items()):
        raise _nonsense(response, "an environment variable is not a string of whole characters")
    return MappingProxyType(values)


def parse_proxy(response: Response) -> JSON:
    """The API's own JSON; None where it answered without a body."""
    check_status(response)
    return _json(response) if response.body else None


def parse_object(response: Response) -> dict[str, Any]:
    """The API's own JSON object."""
    return _object(response)


def parse_status(response: Response) -> None:
    """Nothing, for any 2xx: the body is the caller's to read."""
    check_status(response)


def parse_answer(response: Response) -> None:
    """Nothing, for any 2xx, and for a 304, which answers a conditional request (RFC 9110, 15.4.5)."""
    if response.status != 304:
        check_status(response)


class AnyStatus:
    """Parses as `parse_answer` does, so that what may help is tried again, and keeps the last answer for the caller."""

    def __init__(self) -> None:
        self.answer: Response | None = None

    def __call__(self, response: Response) -> None:
        """Keep the answer; raise where its status is no success."""
        self.answer = response
        parse_answer(response)
        self.answer = None


def unchecked_answer(request: Request, failure: DoubleOError) -> Response | None:
    """The answer that `failure` is about, where the call asked for any status; else None."""
    parse = request.context.parse
    return parse.answer if isinstance(parse, AnyStatus) and failure.reason == "status" else None


def parse_health(response: Response) -> bool:
    """True for any 2xx."""
    check_status(response)
    return True


def _member(response: Response, name: str) -> JSON:
    data = _object(response)
    if name in data:
        return data[name]
    if "error" in data:
        raise answer_error(response, data["error"])
    raise _nonsense(response, f"the answer holds neither {name!r} nor 'error'")


def _object(response: Response) -> dict[str, Any]:
    if not 200 <= response.status < 300:
        check_status(response)
    data = _json(response)
    if not isinstance(data, dict):
        raise _nonsense(response, "the answer is not a JSON object")
    return data


def _json(response: Response) -> JSON:
    try:
        return response.json()
    except DoubleOError as error:
        what = str(error)
    raise _nonsense(response, what)


def _nonsense(response: Response, what: str) -> DoubleOError:
    return with_operation(DoubleOError(what, reason="protocol", status=response.status), response.request)


def _is_text(value: str) -> bool:
    # JSON can spell half a surrogate pair, which no file, header or environment can hold (RFC 8259, 8.2).
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
