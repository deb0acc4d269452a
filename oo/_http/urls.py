"""Base URLs and proxied paths: which are allowed, and how they are spelled. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

DEFAULT_BASE_URL = "http://127.0.0.1:3001"
"""Where `oo serve` listens. Not `localhost`: that may be [::1] first, where any program may listen."""

UNIX = "http+unix://"
"""What the URL of a Unix socket begins with; its percent-encoded path stands in the host's place."""

_LONGEST_SOCKET = 103  # bytes of a socket's path: macOS has room for 104 with the NUL, Linux for 108
# A scheme before a slash, and the two that browsers' parsers take without one: `text:synthesize` is a name.
_SCHEME = re.compile(r"(?i:https?:|[a-z][a-z0-9+.-]*:/)")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3986: unreserved, sub-delims and what else a path and a query may hold as it is.
_SAFE = "/:@!$&'()*+,;=~-._%"
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_PERCENTS = re.compile("%(?:25)+")
_CUT = re.compile("[;?#]")
_LABEL = re.compile("[0-9A-Za-z_-]{1,63}")


def base_url(url: str) -> str:
    """A base URL without its last slash. ValueError if it is neither an absolute http(s) URL nor a Unix socket's
    (`http+unix://%2Frun%2Foo.sock`), or if it holds a user, a query or a fragment."""
    if not isinstance(url, str):
        raise ValueError(f"the base URL must be a string, not {type(url).__name__}")
    if url.startswith(UNIX):
        return _unix_base_url(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("http", "https") or re.search(r"[^!-~]|\\", url):
        raise ValueError(f"the base URL is no http or https URL, such as {DEFAULT_BASE_URL}")
    if "@" in parts.netloc:
        raise ValueError("the base URL holds a user name or password; the token is all that identifies a caller")
    if "?" in url or "#" in url:
        raise ValueError("the base URL holds a query or a fragment; give only scheme, host, port and path")
    # What follows an IPv6 address must be its port: else two libraries read two hosts.
    name = f"[{host}]" if ":" in host else host
    if not _is_host(host) or port == 0 or parts.netloc.lower().partition(name)[2].partition(":")[0]:
        raise ValueError("the base URL names no host, or a port that is none")
    path = parts.path.rstrip("/")
    if path.startswith("//") or _BAD_PERCENT.search(path):
        raise ValueError("the path of the base URL begins with '//' or holds a '%' that begins no escape")
    return f"{parts.scheme}://{parts.netloc}{normal(path)}"


def socket_path(url: str) -> str | None:
    """The path of the Unix socket that a URL names; None for any other URL."""
    return unquote(url.removeprefix(UNIX).partition("/")[0]) if url.startswith(UNIX) else None


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine by its name alone. `name.localhost` is not: see `is_localhost_name`."""
    return url.startswith(UNIX) or is_loopback_host(urlsplit(url).hostname or "")


def is_loopback_host(host: str) -> bool:
    """Whether a host, as `urlsplit` gives it, is this machine by its name alone."""
    host = host.rstrip(".")
    if host == "localhost":
        return True
    ip = address(host)
    return ip is not None and ip.is_loopback


def is_localhost_name(host: str) -> bool:
    """Whether a host is a name below `localhost`. It should be this machine (RFC 6761, 6.3), but only what it resolves
    to says whether it is."""
    return host.rstrip(".").endswith(".localhost")


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, or None for a name. A zone is dropped, an IPv4 address in IPv6 is unwrapped."""
    host = host.partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return getattr(ip, "ipv4_mapped", None) or ip
    try:
        # What the C library takes for an IPv4 address as well: 127.1, 2130706433, 0x7f.0.0.1, 0177.0.0.1.
        return ipaddress.ip_address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None


def normal(text: str) -> str:
    """A path and query in the one spelling that every library leaves as it is: what may not stand there
    percent-encoded, escapes in capitals (RFC 3986, 6.2.2.1)."""
    return _ESCAPE.sub(lambda escape: escape[0].upper(), quote(text, safe=_SAFE + "?"))


@lru_cache(256)
def sent(path: str) -> str:
    """`path` as a client sends it behind /api/proxy/: checked and spelled as `proxied` and `normal` have it."""
    return normal(proxied(path))


@lru_cache(256)
def proxied(path: str) -> str:
    """`path` as it stands behind /api/proxy/, spaces and non-ASCII percent-encoded, its query kept.

    ValueError for what could lead out of there: `..` or `.` as a segment, encoded however often; `//host`; a scheme;
    a backslash; `#`; a control character.
    """
    target, mark, query = path.partition("?")
    if "#" in path:
        raise ValueError("the path holds a '#'; write it as %23 if it belongs to a name")
    target = target.removeprefix("/")
    if path.startswith("//") or _SCHEME.match(target):
        raise ValueError("the path names a host or a scheme; give only what follows the API's own host")
    if _BAD_PERCENT.search(path):
        raise ValueError("the path holds a '%' that begins no escape; write it as %25")
    plain = unescaped(target)
    # What is escaped in a query is data, a line break as well.
    if "\\" in plain or _CONTROL.search(plain) or _CONTROL.search(query):
        raise ValueError("the path holds a backslash or a control character")
    # A parameter (`..;x`) is part of a segment to us, and is cut off by some servers; so is an escaped query.
    if any(_CUT.split(segment)[0].strip() in (".", "..") for segment in plain.split("/")):
        raise ValueError("the path holds a '.' or '..' segment and could leave /api/proxy/")
    try:
        return quote(target, safe=_SAFE) + mark + quote(query, safe=_SAFE + '?[]{}|^`"<>')
    except UnicodeEncodeError:
        pass
    raise ValueError("the path holds half a character (a lone surrogate)")


def unescaped(text: str) -> str:
    """`text` with its escapes undone until none is left: a server behind a server may undo them twice."""
    # A '%' escaped n times is undone at once: a long one would take as many turns.
    while (plain := unquote(_PERCENTS.sub("%", text))) != text:
        text = plain
    return text


def _unix_base_url(url: str) -> str:
    escaped, _, rest = url.removeprefix(UNIX).partition("/")
    path = unquote(escaped)
    if "?" in url or "#" in url or re.search(r"[^!-~]|[@\\]", url) or _BAD_PERCENT.search(url) or "//" in rest:
        raise ValueError("the base URL of a Unix socket holds its path, percent-encoded, and then a path alone")
    if not path.startswith("/") or "\0" in path or len(path.encode()) > _LONGEST_SOCKET:
        what = f"an absolute path of at most {_LONGEST_SOCKET} bytes, such as {UNIX}%2Frun%2Foo.sock"
        raise ValueError(f"the base URL of a Unix socket needs {what}")
    return f"{UNIX}{quote(path, safe='')}{normal('/' + rest)}".rstrip("/")


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return True
    return len(host) <= 254 and all(map(_LABEL.fullmatch, host.removesuffix(".").split(".")))
