"""The vault: a Store in one SQLite file, every value sealed.

A reader connection lives on the event loop; what it has opened is kept until SQLite's `data_version` says that
somebody committed, so a change by another process shows at once. Writes go through one connection on a thread of its
own, each in an immediate transaction, on the disk (WAL, synchronous FULL) before they are acknowledged. What a flipped
or swapped row could change is inside the seals: which version is current, what a token opens, where a route leads.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._messages import JSON
from . import keyring
from .keyring import Keyring, Tampered
from .store import Denial, Kind, Lease, Rate, Result, Route, SecretRef, StoreError, Variable, check_name
from .tokens import fingerprint, is_token, new_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
VAULT_FILE = "vault.db"
KEPT = 24 * 3600.0
"""Seconds that the first result of an idempotent call is kept."""
MAX_VALUE = 512 << 10
"""Bytes of a secret, and of an environment."""

_FRESH = 0.001  # seconds for which what was opened is not asked about again: one request asks for three things

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (kind, name, version)
) WITHOUT ROWID;
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, used INTEGER NOT NULL DEFAULT 0, tat REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE results (
    token TEXT NOT NULL, call BLOB NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (token, call)
) WITHOUT ROWID;
CREATE INDEX results_at ON results (at);
"""


@dataclass(frozen=True)
class Token:
    """A token as the vault knows it: everything but the token."""

    id: str
    kind: Kind
    name: str
    label: str
    issued: float
    expires: float | None
    uses: int | None
    rate: Rate | None
    revoked: float | None
    hash: str
    used: int = 0


@dataclass(frozen=True)
class Version:
    """One version of a secret."""

    version: int
    created: float
    current: bool


class Vault:
    """An open vault. `async with Vault(home)`; StoreError where there is none or the key is not its own."""

    def __init__(self, home: Path, load: Callable[[], Keyring] | None = None) -> None:
        self.path = home / VAULT_FILE
        self._load = load or (lambda: keyring.load(home))
        self._ring = self._load()
        if not self.path.exists():
            raise StoreError(f"there is no vault at {self.path}: run `oo init`")
        self._reader = _connect(self.path)
        try:
            self._token_key = keyring.derive(self._read("root", "root", 1), b"double-o token")
        except (StoreError, sqlite3.Error) as error:
            self._reader.close()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"the vault {self.path} is damaged: {error}") from None
            raise StoreError(f"the master key does not open the vault {self.path}; nothing was changed") from None
        self._writer = _connect(self.path)
        self._thread = ThreadPoolExecutor(1, "oo-vault")
        self._data_version = -1
        self._checked = float("-inf")
        self._opened: dict[Any, Any] = {}

    @staticmethod
    def create(home: Path, ring: Keyring) -> None:
        """Make a new vault, of mode 0600; StoreError where there is one."""
        path = home / VAULT_FILE
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            raise StoreError(f"there is a vault at {path} already") from None
        db = _connect(path)
        with _transaction(db):
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES ('key', ?)", (ring.current,))
            root = ring.seal("root", "root", 1, keyring.new_key())
            db.execute("INSERT INTO records VALUES ('root', 'root', 1, ?, ?)", (ring.current, root))
        db.close()

    async def redeem(self, token: str, kind: Kind, spend: bool = True) -> Lease | Denial:
        """Spend one use of a token; with `spend=False`, only say whether it would open a thing of that kind."""
        hashed = fingerprint(self._token_key, token)
        found = self._cached(hashed, lambda: self._token(hashed) if is_token(token) else None)
        if found is None:
            return Denial("unknown" if is_token(token) else "malformed")
        now = time.time()
        for holds, why in (
            (found.revoked is not None, "revoked"),
            (found.expires is not None and now >= found.expires, "expired"),
            (found.kind != kind, "wrong kind"),
        ):
            if holds:
                return Denial(why, found.id)
        if spend and (found.uses is not None or found.rate is not None):
            denial = await self._write(lambda db: _spend(db, found, now))
            if denial is not None:
                return denial
        return Lease(found.id, found.kind, found.name)

    async def secret(self, name: str) -> str | None:
        value: str | None = self._cached(("secret", name), lambda: self._secret(name))
        return value

    async def environment(self, name: str) -> dict[str, str] | None:
        variables = self._cached(("env", name), lambda: self._json("env", name))
        if variables is None:
            return None
        return {key: await self._variable(name, key, value) for key, value in variables.items()}

    async def route(self, name: str) -> Route | None:
        found: Route | None = self._cached(("route", name), lambda: self._route(name))
        return found

    async def claim(
        self, token_id: str, key: str, digest: bytes, seconds: float
    ) -> Result | Literal["mine", "taken", "other"]:
        call, digest = self._hashed(key.encode()), self._hashed(digest)

        def write(db: sqlite3.Connection) -> Result | Literal["mine", "taken", "other"]:
            now = time.time()
            for token, old in db.execute("SELECT token, call FROM results WHERE at < ?", (now - KEPT,)).fetchall():
                self._drop_result(db, token, old)
            row = db.execute(
                "SELECT digest, until FROM results WHERE token = ? AND call = ?", (token_id, call)
            ).fetchone()
            if row is not None and not hmac.compare_digest(row[0], digest):
                return "other"
            stored = self._json("result", _result_name(token_id, call), db) if row is not None else None
            if stored is not None:
                headers = tuple((name, value) for name, value in stored["headers"])
                return Result(stored["status"], headers, bytes.fromhex(stored["body"]))
            if row is not None and row[1] > now:
                return "taken"
            # Nobody's, or that of a process which died over it.
            db.execute("REPLACE INTO results VALUES (?, ?, ?, ?, ?)", (token_id, call, digest, now, now + seconds))
            return "mine"

        return await self._write(write)

    async def settle(self, token_id: str, key: str, result: Result | None) -> None:
        call = self._hashed(key.encode())

        def write(db: sqlite3.Connection) -> None:
            if result is None:
                self._drop_result(db, token_id, call)
                return
            data = {"status": result.status, "headers": result.headers, "body": result.body.hex()}
            self._put(db, "result", _result_name(token_id, call), 0, data)

        await self._write(write)

    async def put_secret(self, name: str, value: str) -> int:
        """Keep a new version of a secret, and make it the current one; gives its number."""
        check_name(name)
        _check_size(value)

        def write(db: sqlite3.Connection) -> int:
            head = self._json("head", name, db) or {"current": 0, "latest": 0}
            latest = int(head["latest"]) + 1
            self._put(db, "secret", name, latest, {"value": value, "created": time.time()})
            self._put(db, "head", name, 0, {"current": latest, "latest": latest})
            return latest

        return await self._write(write)

    async def versions(self, name: str) -> list[Version]:
        """The versions of a secret, the oldest first."""
        head = self._json("head", check_name(name))
        if head is None:
            raise StoreError(f"there is no secret {name!r}")
        numbers = self._reader.execute(
            "SELECT version FROM records WHERE kind = 'secret' AND name = ? ORDER BY version", (name,)
        )
        return [
            Version(number, json.loads(self._read("secret", name, number))["created"], number == head["current"])
            for (number,) in numbers.fetchall()
        ]

    async def rollback(self, name: str, version: int | None = None) -> int:
        """Make an earlier version of a secret the current one: the one before it, unless told; gives its number."""
        known = {each.version: each for each in await self.versions(name)}
        current = next(each.version for each in known.values() if each.current)
        wanted = max((number for number in known if number < current), default=None) if version is None else version
        if wanted is None or wanted not in known:
            raise StoreError(
                f"the secret {name!r} has no version {'before ' + str(current) if version is None else version}"
            )
        head = {"current": wanted, "latest": max(known)}
        await self._write(lambda db: self._put(db, "head", name, 0, head))
        return wanted

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        """Keep an environment, in the place of an earlier one of that name."""
        check_name(name)
        stored = {
            key: {"secret": value.name} if isinstance(value, SecretRef) else {"literal": value}
            for key, value in variables.items()
        }
        _check_size(json.dumps(stored))
        self._check_secrets(value.name for value in variables.values() if isinstance(value, SecretRef))
        await self._write(lambda db: self._put(db, "env", name, 0, stored))

    async def put_route(self, route: Route) -> None:
        """Keep a route, in the place of an earlier one of that name."""
        self._check_secrets(route.secrets)
        await self._write(lambda db: self._put(db, "route", route.name, 0, asdict(route)))

    async def names(self, kind: Kind) -> list[str]:
        """The names of the things of a kind."""
        stored = "head" if kind == "secret" else kind
        rows = self._reader.execute("SELECT name FROM records WHERE kind = ? ORDER BY name", (stored,))
        return [name for (name,) in rows]

    async def variables(self, name: str) -> dict[str, Variable] | None:
        """An environment's variables as they were put."""
        stored = self._json("env", name)
        if stored is None:
            return None
        return {
            key: SecretRef(value["secret"]) if "secret" in value else value["literal"] for key, value in stored.items()
        }

    async def remove(self, kind: Kind, name: str) -> None:
        """Forget a thing. StoreError where there is none, or where others need it."""
        if name not in await self.names(kind):
            raise StoreError(f"there is no {kind} {name!r}")
        users = await self._users(name) if kind == "secret" else []
        if users:
            raise StoreError(f"the secret {name!r} is needed by {', '.join(users)}")
        kinds = ("secret", "head") if kind == "secret" else (kind,)

        def write(db: sqlite3.Connection) -> None:
            for each in kinds:
                db.execute("DELETE FROM records WHERE kind = ? AND name = ?", (each, name))

        await self._write(write)

    async def issue(
        self,
        kind: Kind,
        name: str,
        *,
        ttl: float | None = None,
        uses: int | None = None,
        rate: Rate | None = None,
        label: str = "",
    ) -> str:
        """A new token for one thing, for `ttl` seconds and `uses` uses. It is shown here and never again."""
        if name not in await self.names(kind):
            raise StoreError(f"there is no {kind} {name!r}")
        token, now = new_token(), time.time()
        hashed = fingerprint(self._token_key, token)
        identity = hashlib.sha256(hashed).hexdigest()[:12]
        expires = None if ttl is None else now + ttl
        record = Token(identity, kind, name, label, now, expires, uses, rate, None, hashed.hex())

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO tokens (hash, id) VALUES (?, ?)", (hashed, identity))
            self._put(db, "token", identity, 0, asdict(record))

        await self._write(write)
        return token

    async def tokens(self) -> list[Token]:
        """Every token that was issued, the oldest first."""
        rows = self._reader.execute("SELECT hash FROM tokens").fetchall()
        found = [self._token(hashed) for (hashed,) in rows]
        return sorted((token for token in found if token is not None), key=lambda token: token.issued)

    async def revoke(self, token_id: str) -> None:
        """Let a token open nothing from now on."""
        record = self._json("token", token_id)
        if record is None:
            raise StoreError(f"there is no token {token_id!r}; `oo token list` shows the ids")
        record["revoked"] = record["revoked"] or time.time()
        await self._write(lambda db: self._put(db, "token", token_id, 0, record))

    async def rekey(self, ring: Keyring) -> int:
        """Seal everything that is not sealed with the ring's current key anew, each record in a transaction of its
        own; gives how many. Readers open either key meanwhile, and a killed run is taken up by the next."""
        self._ring = ring
        await self._write(lambda db: db.execute("REPLACE INTO meta VALUES ('key', ?)", (ring.current,)))
        count = 0
        while True:
            row = self._reader.execute(
                "SELECT kind, name, version FROM records WHERE key <> ? LIMIT 1", (ring.current,)
            ).fetchone()
            if row is None:
                return count

            def write(db: sqlite3.Connection, place: tuple[str, str, int] = row) -> None:
                self._put_bytes(db, *place, self._read(*place, db=db))

            await self._write(write)
            count += 1

    async def close(self) -> None:
        """Close the file."""
        self._thread.shutdown()
        self._writer.close()
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _cached(self, key: Any, read: Callable[[], T]) -> T:
        now = time.monotonic()
        if now - self._checked > _FRESH:
            self._checked = now
            (version,) = self._reader.execute("PRAGMA data_version").fetchone()
            if version != self._data_version:
                self._data_version, self._opened = version, {}
        if key in self._opened:
            found: T = self._opened[key]
            return found
        found = read()
        # Nothing is kept of what is not there: callers could ask for ever more of it.
        if found is not None:
            self._opened[key] = found
        return found

    def _read(self, kind: str, name: str, version: int, db: sqlite3.Connection | None = None) -> bytes:
        value = self._read_or_none(kind, name, version, db)
        if value is None:
            raise Tampered(f"the {kind} {name!r} is missing from the vault")
        return value

    def _read_or_none(self, kind: str, name: str, version: int, db: sqlite3.Connection | None = None) -> bytes | None:
        query = "SELECT key, sealed FROM records WHERE kind = ? AND name = ? AND version = ?"
        row = (db or self._reader).execute(query, (kind, name, version)).fetchone()
        if row is None:
            return None
        key, sealed = row
        if key not in self._ring.ids:
            # `oo rekey` has been, or is, at work.
            self._ring = self._load()
        if key not in self._ring.ids:
            raise Tampered(f"the {kind} {name!r} in the vault was sealed with a key that is not on the ring")
        return self._ring.open(key, kind, name, version, sealed)

    def _json(self, kind: str, name: str, db: sqlite3.Connection | None = None) -> JSON:
        data = self._read_or_none(kind, name, 0, db)
        return None if data is None else json.loads(data)

    def _secret(self, name: str) -> str | None:
        head = self._json("head", name)
        if head is None:
            return None
        value: str = json.loads(self._read("secret", name, int(head["current"])))["value"]
        return value

    async def _variable(self, env: str, key: str, stored: Mapping[str, str]) -> str:
        if "literal" in stored:
            return stored["literal"]
        value = await self.secret(stored["secret"])
        if value is None:
            raise Tampered(f"the secret of {key} in the environment {env!r} is missing from the vault")
        return value

    def _route(self, name: str) -> Route | None:
        stored = self._json("route", name)
        return None if stored is None else Route(**{**stored, "allow": tuple(stored["allow"])})

    def _token(self, hashed: bytes) -> Token | None:
        row = self._reader.execute("SELECT id, used FROM tokens WHERE hash = ?", (hashed,)).fetchone()
        if row is None:
            return None
        stored = json.loads(self._read("token", row[0], 0))
        # A row may have been pointed at another token's record.
        if not hmac.compare_digest(stored["hash"], hashed.hex()):
            raise Tampered(f"the token {row[0]!r} in the vault is not the one that was stored there")
        rate = stored["rate"] and Rate(**stored["rate"])
        return Token(**{**stored, "rate": rate, "used": row[1]})

    async def _users(self, secret: str) -> list[str]:
        ref = SecretRef(secret)
        envs = {name: await self.variables(name) or {} for name in await self.names("env")}
        routes = {name: await self.route(name) for name in await self.names("route")}
        return [f"the environment {name!r}" for name, variables in envs.items() if ref in variables.values()] + [
            f"the route {name!r}" for name, route in routes.items() if route is not None and secret in route.secrets
        ]

    def _check_secrets(self, names: Any) -> None:
        missing = sorted(name for name in names if self._json("head", name) is None)
        if missing:
            raise StoreError(f"there is no secret {missing[0]!r}: `oo secret set {missing[0]}` first")

    def _put(self, db: sqlite3.Connection, kind: str, name: str, version: int, data: JSON) -> None:
        self._put_bytes(db, kind, name, version, json.dumps(data).encode())

    def _put_bytes(self, db: sqlite3.Connection, kind: str, name: str, version: int, data: bytes) -> None:
        (current,) = db.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        if current != self._ring.current:
            self._ring = self._load()
        if current != self._ring.current:
            raise StoreError("the vault is being moved to another master key: finish `oo rekey` first")
        sealed = self._ring.seal(kind, name, version, data)
        db.execute("REPLACE INTO records VALUES (?, ?, ?, ?, ?)", (kind, name, version, current, sealed))

    def _drop_result(self, db: sqlite3.Connection, token: str, call: bytes) -> None:
        db.execute("DELETE FROM results WHERE token = ? AND call = ?", (token, call))
        db.execute("DELETE FROM records WHERE kind = 'result' AND name = ?", (_result_name(token, call),))

    def _hashed(self, data: bytes) -> bytes:
        return hmac.digest(self._token_key, data, "sha256")

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            with _transaction(self._writer):
                return change(self._writer)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, write)
        finally:
            self._checked = float("-inf")


def _spend(db: sqlite3.Connection, token: Token, now: float) -> Denial | None:
    hashed = bytes.fromhex(token.hash)
    if token.rate is not None:
        # The generic cell rate algorithm: `tat` is when the bucket would be full again.
        interval = token.rate.seconds / token.rate.count
        (tat,) = db.execute("SELECT tat FROM tokens WHERE hash = ?", (hashed,)).fetchone()
        wait = max(tat, now) + interval - token.rate.seconds - now
        # Rounding must not take the last of the burst away.
        if wait > 1e-6:
            return Denial("rate", token.id, wait)
        db.execute("UPDATE tokens SET tat = ? WHERE hash = ?", (max(tat, now) + interval, hashed))
    limit = -1 if token.uses is None else token.uses
    spent = db.execute(
        "UPDATE tokens SET used = used + 1 WHERE hash = ? AND (? < 0 OR used < ?)", (hashed, limit, limit)
    )
    return None if spent.rowcount else Denial("used up", token.id)


def _result_name(token: str, call: bytes) -> str:
    return f"{token}.{call.hex()}"


def _check_size(value: str) -> None:
    if len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE:
        raise StoreError(f"the value is larger than {MAX_VALUE} bytes")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        db.execute(f"PRAGMA {pragma}")
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
