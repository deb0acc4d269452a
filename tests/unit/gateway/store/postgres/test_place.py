from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from oo.gateway.errors import StoreError
from oo.gateway.store.postgres.place import has_password, parse

CANARY = "canary-password"


@pytest.mark.parametrize(
    ("url", "hosts", "ports", "user", "database"),
    [
        ("postgres://127.0.0.1/db", ("127.0.0.1",), (5432,), None, "db"),
        ("postgresql://me@localhost:6000/db", ("localhost",), (6000,), "me", "db"),
        ("postgres:///db?host=/run/postgres&user=me", ("/run/postgres",), (5432,), "me", "db"),
        ("postgres:///", ("127.0.0.1",), (5432,), None, None),
        ("postgres://[::1]:7/d%20b", ("::1",), (7,), None, "d b"),
        ("postgres://[::1]/?dbname=db&port=8", ("::1",), (8,), None, "db"),
        ("postgres://127.0.0.1:1,127.0.0.2:2/db", ("127.0.0.1", "127.0.0.2"), (1, 2), None, "db"),
        ("postgres://127.0.0.1,127.0.0.2/db?port=1,2", ("127.0.0.1", "127.0.0.2"), (1, 2), None, "db"),
        ("postgres://m%40e@127.0.0.1/db?port=9", ("127.0.0.1",), (9,), "m@e", "db"),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(
    url: str, hosts: tuple[str, ...], ports: tuple[int, ...], user: str | None, database: str | None
) -> None:
    place = parse(url, {})
    assert (place.hosts, place.ports, place.user, place.database) == (hosts, ports, user, database)
    assert place.tls is None
    assert place.settings["host"] == list(hosts)
    assert "password" not in place.settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://[/db", "is no URL such as"),
        ("postgres://127.0.0.1:x/db", "is no URL such as"),
        ("postgres://127.0.0.1/db?x", "is no URL such as"),
        ("postgres://127.0.0.1,127.0.0.2,127.0.0.3/db?port=1,2", "is no URL such as"),
        ("postgres://127.0.0.1/db?options=x", "parameter 'options'"),
        ("postgres://db.example/db?sslmode=require", "verify-full"),
        ("postgres://127.0.0.1,db.example/db?sslmode=disable", "verify-full"),
        ("postgres://127.evil.example/db?sslmode=prefer", "verify-full"),
        ("postgres://db.example/db?sslrootcert=/nowhere", "sslrootcert cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_without_the_url(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        parse(url.replace("://", f"://me:{CANARY}@", 1), {})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("query", ["", "?sslmode=verify-full", f"?sslrootcert={certifi.where()}"])
def test_tls_is_verified_on_another_machine(query: str) -> None:
    tls = parse(f"postgres://db.example/db{query}", {}).tls
    assert isinstance(tls, ssl.SSLContext)
    assert (tls.check_hostname, tls.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_tls_on_this_machine_is_as_it_is_told() -> None:
    assert parse("postgres://127.0.0.1/db?sslmode=disable", {}).settings["ssl"] is False
    assert isinstance(parse("postgres://127.0.0.1/db?sslmode=verify-full", {}).tls, ssl.SSLContext)


def test_a_password_comes_from_the_url_or_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    for place in (
        parse(f"postgres://me:{CANARY}@127.0.0.1/db", {}),
        parse(f"postgres://127.0.0.1/db?password={CANARY}", {}),
        parse("postgres://127.0.0.1/db", {"OO_STORE_PASSWORD_FILE": str(file)}),
    ):
        assert place.settings["password"] == CANARY
        assert CANARY not in f"{place} {place!r}"
    assert parse("postgres://127.0.0.1/db?passfile=/x", {}).settings["passfile"] == "/x"
    with pytest.raises(StoreError, match="the password file /nowhere cannot be read: FileNotFoundError"):
        parse("postgres://127.0.0.1/db", {"OO_STORE_PASSWORD_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("place", "holds"),
    [
        ("/home/me/oo", False),
        ("postgres://me@127.0.0.1/db", False),
        ("postgres://me:x@127.0.0.1/db", True),
        ("postgres://127.0.0.1/db?password=x", True),
        ("postgres://me:x@[/db", True),
    ],
)
def test_a_place_that_holds_a_password_is_known(place: str, holds: bool) -> None:
    assert has_password(place) is holds
