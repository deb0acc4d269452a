"""Why PostgreSQL cannot be reached, or refuses, in words that say what to do. The engine's own words may quote what it
was sent, and are never passed on."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

import asyncpg

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted for that host: name its authority by sslrootcert"),
    (ssl.SSLError, "TLS with it fails: is it set up there (ssl = on)?"),
    (socket.gaierror, "there is no host of that name"),
    (ConnectionRefusedError, "connection refused: does PostgreSQL listen there?"),
    (asyncio.TimeoutError, "no answer in time: does PostgreSQL run there, and may it be reached from here?"),
    (asyncpg.InvalidCatalogNameError, "there is no such database: create it (`createdb`), then run `oo init`"),
    (
        asyncpg.InvalidPasswordError,
        "the password was refused, or none was given: set PGPASSWORD or OO_STORE_PASSWORD_FILE, or use a passfile",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "the user may not connect: has it a role with LOGIN, and a line in pg_hba.conf?",
    ),
    (asyncpg.InsufficientPrivilegeError, "the role may not do that: GRANT it the right, or name the owner's role"),
    (
        asyncpg.TooManyConnectionsError,
        "it takes no more connections: raise max_connections, or the CONNECTION LIMIT of the role or the database",
    ),
    (asyncpg.DiskFullError, "its disk is full"),
    (asyncpg.OutOfMemoryError, "it has no memory left"),
    (asyncpg.CannotConnectNowError, "it is starting or ending: try again"),
    (asyncpg.AdminShutdownError, "it was told to end, or to end this connection"),
    (asyncpg.CrashShutdownError, "it has crashed"),
    (asyncpg.ReadOnlySQLTransactionError, "it takes no writes: is it a standby?"),
    (asyncpg.TargetServerAttributeNotMatched, "none of its hosts takes writes: are all of them standbys?"),
    (asyncpg.ObjectNotInPrerequisiteStateError, "the database is not in a state for that: does it allow connections?"),
    (asyncpg.PostgresConnectionError, "the connection broke off"),
    (asyncpg.UndefinedColumnError, "its tables are not those of this version"),
    (asyncpg.DuplicateTableError, "its schema oo has something of those names already: name another database"),
    (asyncpg.UndefinedFunctionError, "its functions are not those of this version"),
)
_NO_TLS = "rejected SSL upgrade"  # asyncpg's words, of a ConnectionError without a number


def in_words(error: BaseException) -> str:
    """What happened, and what to do. What is not known is named by its class, and by the engine's code."""
    if type(error) is ConnectionError:
        return (
            "it speaks no TLS: set ssl = on there, if that is PostgreSQL"
            if _NO_TLS in str(error)
            else "the connection broke off"
        )
    said = next((words for kind, words in _WORDS if isinstance(error, kind)), "")
    state = getattr(error, "sqlstate", None)
    if said:
        return f"{said} ({state})" if state else said
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__ + (f" ({state})" if state else "")
