"""Where callers put their token: wherever an SDK puts the key of its API. Pure."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from urllib.parse import unquote_plus

from .._http.headers import Headers
from .._http.request import Request
from .errors import GatewayError
from .tokens import has_form

PROTOCOLS = "sec-websocket-protocol"
"""The header in which a browser's program has its token, since it can set no other for a WebSocket: behind a dot, as in
`openai-insecure-api-key.TOKEN`."""

_OF_SDKS = ("x-api-key", "api-key", "x-goog-api-key", "private-token")
HEADERS = frozenset({"authorization", PROTOCOLS, *_OF_SDKS})
"""The headers in which a token may stand, in small letters."""

PARAMETER = "key"
"""The parameter of the query in which a token may stand."""

AUTHORIZATION = "the header Authorization, as 'Bearer oo_...'"
"""Where a token belongs, for who sent none."""

SDKS = f"{AUTHORIZATION}, or where an SDK puts its API's key: {', '.join(_OF_SDKS)}, ?{PARAMETER}="
"""Where a token for a route belongs."""

_MAY_NAME = re.compile(rf"(?:^|&)(?:{PARAMETER}|[^=&]*[%+])")
_SIGNER = re.compile(r"\bCredential=([^/,\s]+)/")  # AWS Signature 4: the id of the access key


def take_token(request: Request, *, in_query: bool) -> tuple[str, Request]:
    """The caller's token, and the request without it.

    A token is what has the form of one, in one of the HEADERS or, with `in_query`, in the PARAMETER. Where there is
    none, the text of a lone `Authorization: Bearer` is given, whatever it is; else "". GatewayError if there are two.
    """
    found, kept = [], []
    for pair in request.headers.pairs():
        if not _is_place(pair[0]) or not (texts := [text for text in _texts_in(*pair) if has_form(text)]):
            kept.append(pair)
            continue
        found += texts
        if pair[0].lower() == PROTOCOLS:  # the others are for the upstream to choose from
            kept.append((pair[0], _without(pair[1], texts)))
    if found:
        request = request.replace(headers=Headers(kept))
    if in_query and "?" in request.url:
        in_url, url = _taken_from_query(request.url)
        if in_url:
            found += in_url
            request = request.replace(url=url)
    if len(found) > 1:
        raise GatewayError(400, "the token must be given in one place alone", "bad request")
    return found[0] if found else _bearer(request), request


@lru_cache(512)  # most calls have the same names
def _is_place(name: str) -> bool:
    # CGI and WSGI read X_Key and X-Key as the same header (RFC 3875, 4.1.18).
    return name.lower().replace("_", "-") in HEADERS


def _texts_in(name: str, value: str) -> list[str]:
    """What stands in a header where its token would."""
    if name.lower() == PROTOCOLS:
        return [offer.strip().rpartition(".")[2] for offer in value.split(",")]
    if name.lower() != "authorization":
        return [value.strip()]
    scheme, _, text = value.strip().partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if scheme in ("bearer", "token"):
        return [text]
    if scheme == "basic":
        return [basic_token(text)]
    signer = _SIGNER.search(text) if scheme.startswith("aws4-") else None
    return [signer[1]] if signer else []


def _without(offers: str, tokens: list[str]) -> str:
    """The protocols that are offered, but for those that end with a token."""
    kept = (offer.strip() for offer in offers.split(","))
    return ", ".join(offer for offer in kept if offer.rpartition(".")[2] not in tokens)


def basic_token(credentials: str) -> str:
    """What stands in the credentials of Basic where a token would: the password, or the user where that is empty (RFC
    7617, 2). "" for what is not base64."""
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode("latin-1").partition(":")
    except ValueError:
        return ""
    return password or user


def _taken_from_query(url: str) -> tuple[list[str], str]:
    """The tokens in a URL's query, and the URL without them."""
    path, _, query = url.partition("?")
    found: list[str] = []
    if not _MAY_NAME.search(query):  # there may be thousands of others
        return found, url
    kept = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == PARAMETER and has_form(text := unquote_plus(value)):
            found.append(text)
        else:
            kept.append(part)
    return found, f"{path}?{'&'.join(kept)}" if kept else path


def _bearer(request: Request) -> str:
    fields = request.headers.get_all("Authorization")
    scheme, _, text = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" else ""
