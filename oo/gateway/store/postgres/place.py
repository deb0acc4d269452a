"""`postgres://...`: where a database is, how it is reached, and with what. Pure, but for the file of the password.

The URL is that of libpq. TLS is `verify-full` unless the database is on this machine. The password comes from
`PGPASSWORD`, from the file that `OO_STORE_PASSWORD_FILE` names, from a passfile (`PGPASSFILE`, `~/.pgpass`), or stands
in `OO_STORE`; no error quotes it, nor the URL.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ...._core.files import decode_text
from ...._http.urls import is_loopback_host
from ...errors import StoreError
from ...paths import expanded

_PARAMETERS = frozenset({"host", "port", "user", "password", "dbname", "passfile", "sslmode", "sslrootcert"})
_VERIFIED = "verify-full"


@dataclass(frozen=True)
class Place:
    """A database. `hosts` are asked in turn for the one that takes writes; a host that begins with "/" is the directory
    of a socket. `password` is None where libpq's own places are to be looked at."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    passfile: str | None
    tls: ssl.SSLContext | bool | None

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in zip(self.hosts, self.ports, strict=True))
        return f"postgres://{hosts}/{self.database or ''}"

    @property
    def settings(self) -> dict[str, Any]:
        """What asyncpg's `connect` takes."""
        given: dict[str, Any] = {"host": list(self.hosts), "port": list(self.ports), "ssl": self.tls}
        given |= {"user": self.user, "password": self.password, "database": self.database, "passfile": self.passfile}
        return {name: value for name, value in given.items() if value is not None}


def has_password(place: str) -> bool:
    """Whether a store's place holds a password."""
    try:
        found = urlsplit(place)
        return found.password is not None or "password" in dict(parse_qsl(found.query))
    except ValueError:
        return True  # whatever it is, it is not to be shown


def parse(url: str, environ: Mapping[str, str] = os.environ) -> Place:
    """The database that a URL names; StoreError for one that is none, or would be reached without TLS."""
    try:
        found = urlsplit(url)
        query = dict(parse_qsl(found.query, keep_blank_values=True, strict_parsing=bool(found.query)))
        hosts, ports = _hosts(found.netloc.rpartition("@")[2], query)
        user, password = found.username, found.password
    except ValueError:
        raise StoreError("the store is no URL such as postgres://user@host:5432/database") from None
    if unknown := query.keys() - _PARAMETERS:
        raise StoreError(f"the URL of the store has a parameter {sorted(unknown)[0]!r}, which is not known here")
    return Place(
        hosts,
        ports,
        query.get("user") or (unquote(user) if user else None),
        query.get("password") or (unquote(password) if password else _password(environ)),
        query.get("dbname") or unquote(found.path[1:]) or None,
        query.get("passfile"),
        _tls(hosts, query),
    )


def _hosts(netloc: str, query: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    named = [part for part in (query.get("host") or netloc).split(",") if part]
    pairs = [_host(unquote(part)) for part in named] or [("127.0.0.1", None)]
    default = query.get("port", "5432").split(",")
    if len(default) not in (1, len(pairs)):
        raise ValueError("as many ports as hosts")
    ports = [int(port or default[n % len(default)]) for n, (_, port) in enumerate(pairs)]
    return tuple(host for host, _ in pairs), tuple(ports)


def _host(text: str) -> tuple[str, str | None]:
    if text.startswith("/"):
        return text, None
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or None
    host, _, port = text.partition(":")
    return host, port or None


def _password(environ: Mapping[str, str]) -> str | None:
    named = environ.get("OO_STORE_PASSWORD_FILE")
    if not named:
        return None  # asyncpg looks at PGPASSWORD and the passfiles
    try:
        return decode_text(expanded(named).read_bytes()).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the password file {named} cannot be read: {type(error).__name__}") from None


def _tls(hosts: tuple[str, ...], query: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    mode, roots = query.get("sslmode"), query.get("sslrootcert")
    if mode in (None, "disable", "prefer", "allow") and roots is None and all(map(_is_here, hosts)):
        return False if mode == "disable" else None
    if mode not in (None, _VERIFIED):
        raise StoreError(f"the store is on another machine: its sslmode is {_VERIFIED}, and no other")
    try:
        return ssl.create_default_context(cafile=roots)
    except (OSError, ssl.SSLError) as error:
        raise StoreError(f"the store's sslrootcert cannot be read: {type(error).__name__}") from None


def _is_here(host: str) -> bool:
    return host.startswith("/") or is_loopback_host(host)
