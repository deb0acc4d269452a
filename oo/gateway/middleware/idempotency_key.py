"""The idempotency key of a call."""

from __future__ import annotations

import re

from ..._http.request import Request
from ..errors import GatewayError

_KEY = re.compile("[ -~]{1,255}")


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key of a call that may change something, or None. GatewayError if it is not one text."""
    keys = request.headers.get_all("Idempotency-Key")
    if not keys or request.method in ("GET", "HEAD"):
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        said = "the Idempotency-Key must be one text of 1 to 255 ASCII characters"
        raise GatewayError(400, said, "bad request")
    return keys[0]
