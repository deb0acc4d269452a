"""The arithmetic of AWS Signature Version 4, as AWS's documents have it (IAM User Guide, "Create a signed request")."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
_PORTS = {"http": 80, "https": 443}
_UNRESERVED = "-_.~"
_PLAIN = re.compile("[A-Za-z0-9_.~-]*")


class Scope(NamedTuple):
    """Where and when a signature holds; `stamp` is such as 20150830T123600Z."""

    stamp: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """The credential scope."""
        return f"{self.stamp[:8]}/{self.region}/{self.service}/aws4_request"


class SignedHeaders(NamedTuple):
    """The canonical headers, each with its line's end, and their names."""

    text: str
    names: str


def canonical_request(method: str, path: str, query: str, headers: SignedHeaders, digest: str) -> str:
    """The canonical request; all but the method in canonical form."""
    return "\n".join([method.upper(), path, query, headers.text, headers.names, digest])


def canonical_path(url: str, *, is_s3: bool) -> str:
    """The path: for S3 encoded once and nothing removed; for others without dot segments and repeated slashes, and each
    escape encoded again."""
    path = urlsplit(url).path
    if is_s3:
        return quote(unquote_to_bytes(path), safe="/" + _UNRESERVED) or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return quote("/" + "/".join(kept) + end, safe="/" + _UNRESERVED)


def canonical_query(query: str) -> str:
    """The query, each name and value encoded anew, sorted. A plus is read as a space, as forms have it."""
    pairs = [piece.replace("+", " ").partition("=") for piece in query.split("&") if piece]
    return "&".join(sorted_pairs((_encoded(name), _encoded(value)) for name, _, value in pairs))


def sorted_pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Encoded names and values, sorted by name and then by value."""
    return [f"{name}={value}" for name, value in sorted(pairs)]


def canonical_headers(pairs: Iterable[tuple[str, str]]) -> SignedHeaders:
    """The headers to be signed: names in small letters and sorted, repeats joined in their order, blanks trimmed."""
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name.lower(), []).append(re.sub(" +", " ", value.strip(" \t")))
    names = sorted(fields)
    return SignedHeaders("".join(f"{name}:{','.join(fields[name])}\n" for name in names), ";".join(names))


def host_of(url: str) -> str:
    """The Host header as it is sent (RFC 9110, 7.2): without the port that is the scheme's own."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return host.removesuffix(f":{_PORTS.get(parts.scheme, 0)}")


def string_to_sign(scope: Scope, canonical: str) -> str:
    """The text that is signed, of a canonical request."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return "\n".join([ALGORITHM, scope.stamp, scope.text, digest])


def signature(secret_key: str, scope: Scope, canonical: str) -> str:
    """The signature of a canonical request, in hexadecimal digits."""
    key = ("AWS4" + secret_key).encode()
    for part in scope.text.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, string_to_sign(scope, canonical).encode(), "sha256").hex()


def _encoded(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text  # as most are, which is much faster
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)
