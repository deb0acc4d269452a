"""The tables, in a schema `oo` of a database. PostgreSQL 13 or newer.

Nothing needs a session: no LISTEN, no advisory lock, no temporary table, so poolers in transaction mode serve. Times
are the engine's. The order in which rows are locked is the epoch, uses by hash, claims by token and call.
"""

from __future__ import annotations

from ...errors import StoreError
from ...sealing import MasterKeys
from ..records import begin
from .connections import Connection, connected
from .place import Place
from .rows import PostgresRows

VERSION = "1"

_TABLES = """
CREATE SCHEMA IF NOT EXISTS oo;
CREATE TABLE oo.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE oo.epoch (one bool PRIMARY KEY DEFAULT true CHECK (one), version bigint NOT NULL);
CREATE TABLE oo.records (
    kind text, name text COLLATE "C", version int, key text NOT NULL, sealed bytea NOT NULL,
    PRIMARY KEY (kind, name, version)
);
ALTER TABLE oo.records ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE oo.tokens (hash bytea PRIMARY KEY, id text NOT NULL UNIQUE);
CREATE TABLE oo.uses (
    hash bytea PRIMARY KEY REFERENCES oo.tokens ON DELETE CASCADE, revision bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0, tat double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE oo.claims (
    token text, call bytea, fence bytea NOT NULL, digest bytea NOT NULL DEFAULT '', at timestamptz NOT NULL,
    until timestamptz NOT NULL, done bool NOT NULL DEFAULT false, day int NOT NULL DEFAULT 0,
    pieces int NOT NULL DEFAULT 0, size bigint NOT NULL DEFAULT 0, PRIMARY KEY (token, call)
) WITH (fillfactor = 70);
CREATE INDEX claims_at ON oo.claims (at);
CREATE TABLE oo.pieces (
    token text, call bytea, fence bytea, number int, sealed bytea NOT NULL, PRIMARY KEY (token, call, fence, number),
    FOREIGN KEY (token, call) REFERENCES oo.claims ON DELETE CASCADE
);
ALTER TABLE oo.pieces ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE oo.replicas (id text PRIMARY KEY, epoch bigint NOT NULL, at timestamptz NOT NULL);
INSERT INTO oo.epoch (version) VALUES (1);
"""

# A claim and its use, both or neither. A use is locked before a claim, as every statement has it.
_CLAIM = """
CREATE FUNCTION oo.claim(
    of_hash bytea, of_revision bigint, most bigint, of_token text, of_call bytea, of_fence bytea,
    seconds float8, kept float8
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    counted record;
    found_claim record;
    moment timestamptz;
BEGIN
    IF most IS NULL THEN
        SELECT revision, used INTO counted FROM oo.uses WHERE hash = of_hash;
    ELSE
        SELECT revision, used INTO counted FROM oo.uses WHERE hash = of_hash FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND OR counted.revision <> of_revision THEN RETURN 'stale'; END IF;
    moment := clock_timestamp();
    SELECT done, at, until INTO found_claim FROM oo.claims WHERE token = of_token AND call = of_call FOR UPDATE;
    IF FOUND THEN
        IF found_claim.done AND found_claim.at > moment - make_interval(secs => kept) THEN RETURN 'taken'; END IF;
        IF NOT found_claim.done AND found_claim.until > moment THEN RETURN 'taken'; END IF;
    END IF;
    IF counted.used >= most THEN RETURN 'used up'; END IF;
    DELETE FROM oo.claims WHERE token = of_token AND call = of_call;
    INSERT INTO oo.claims (token, call, fence, at, until)
        VALUES (of_token, of_call, of_fence, moment, moment + make_interval(secs => seconds)) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN 'taken'; END IF;
    IF most IS NOT NULL THEN UPDATE oo.uses SET used = used + 1 WHERE hash = of_hash; END IF;
    RETURN 'claimed';
END
$$;
"""

# For a role that keeps nothing else: a credential that was rotated is a new version of its secret, kept only in the
# epoch in which the one before was read.
_KEEP_VERSION = """
CREATE FUNCTION oo.keep_version(
    expected bigint, of_name text, of_version int, of_key text, value bytea, head bytea
) RETURNS bool LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM oo.epoch WHERE version = expected FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    IF of_version <> 1 + coalesce(
        (SELECT max(version) FROM oo.records WHERE kind = 'secret' AND name = of_name), 0
    ) THEN RETURN false; END IF;
    INSERT INTO oo.records VALUES ('secret', of_name, of_version, of_key, value);
    INSERT INTO oo.records VALUES ('head', of_name, 0, of_key, head)
        ON CONFLICT (kind, name, version) DO UPDATE SET key = excluded.key, sealed = excluded.sealed;
    UPDATE oo.epoch SET version = version + 1;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION oo.keep_version FROM PUBLIC;
"""
GATEWAY_GRANTS = """
GRANT USAGE ON SCHEMA oo TO gateway;
GRANT SELECT ON ALL TABLES IN SCHEMA oo TO gateway;
GRANT UPDATE ON oo.uses TO gateway;
GRANT INSERT, UPDATE, DELETE ON oo.claims, oo.pieces, oo.replicas TO gateway;
GRANT EXECUTE ON FUNCTION oo.keep_version TO gateway;
"""
"""What a role of gateways needs, which may change nothing of an owner's."""


async def create(place: Place, masters: MasterKeys) -> None:
    """Make a new store; StoreError if there is one."""
    async with connected(place) as connection:
        if await exists(connection):
            raise StoreError(f"there is a store at {place} already")
        async with connection.transaction():
            await make_tables(connection)
            await begin(PostgresRows(connection), masters)


async def make_tables(connection: Connection) -> None:
    """Make the tables of an empty store, in a transaction of whoever asks."""
    await connection.execute(_TABLES + _CLAIM + _KEEP_VERSION)
    await connection.execute("INSERT INTO oo.meta VALUES ('schema', $1)", VERSION)


async def exists(connection: Connection) -> bool:
    """Whether a database holds a store."""
    return bool(await connection.fetchval("SELECT to_regclass('oo.meta') IS NOT NULL"))
