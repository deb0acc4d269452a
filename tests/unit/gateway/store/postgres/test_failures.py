from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import asyncpg
import pytest

from oo.gateway.store.postgres.failures import in_words

CANARY = "canary-of-a-password"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            asyncpg.InvalidCatalogNameError(CANARY),
            "there is no such database: create it (`createdb`), then run `oo init`",
        ),
        (asyncpg.InvalidPasswordError(CANARY), "the password was refused, or none was given: set PGPASSWORD"),
        (asyncpg.InvalidAuthorizationSpecificationError(CANARY), "the user may not connect"),
        (asyncpg.InsufficientPrivilegeError(CANARY), "the role may not do that"),
        (asyncpg.TooManyConnectionsError(CANARY), "it takes no more connections"),
        (asyncpg.DiskFullError(CANARY), "its disk is full (53100)"),
        (asyncpg.ConnectionDoesNotExistError(CANARY), "the connection broke off (08003)"),
        (asyncpg.UndefinedColumnError(CANARY), "its tables are not those of this version (42703)"),
        (asyncpg.DivisionByZeroError(CANARY), "DivisionByZeroError (22012)"),
        (asyncpg.InterfaceError(CANARY), "InterfaceError"),
        (ConnectionRefusedError(111, CANARY), "connection refused: does PostgreSQL listen there?"),
        (socket.gaierror(-2, CANARY), "there is no host of that name"),
        (asyncio.TimeoutError(CANARY), "no answer in time"),
        (ssl.SSLCertVerificationError(1, CANARY), "its certificate is not trusted for that host"),
        (ssl.SSLError(1, CANARY), "TLS with it fails"),
        (ConnectionError(f"{CANARY} rejected SSL upgrade"), "it speaks no TLS: set ssl = on there"),
        (ConnectionError(CANARY), "the connection broke off"),
        (OSError(errno.EHOSTUNREACH, CANARY), "No route to host"),
        (OSError(CANARY), "OSError"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)
def test_a_failure_is_said_in_words_and_none_of_the_engines(error: Exception, said: str) -> None:
    assert in_words(error).startswith(said)
    assert CANARY not in in_words(error)
