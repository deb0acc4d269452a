"""The target of a request, in its origin form."""

from __future__ import annotations

import re

_ABSOLUTE = re.compile(r"https?://[^/?#@\\]+(?=[/?]|$)", re.IGNORECASE)


def origin_form(target: str) -> str:
    """A target's path and query: what stands behind the authority of an absolute form (RFC 9112, 3.2.2), whatever that
    is, since a gateway has one name as well as another. Any other target is as it was."""
    match = None if target.startswith("/") else _ABSOLUTE.match(target)
    if match is None:
        return target
    rest = target[match.end() :]
    return rest if rest.startswith("/") else f"/{rest}"
