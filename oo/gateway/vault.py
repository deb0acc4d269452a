"""The vault: a Store in one SQLite file, every value sealed.

A reader connection lives on the event loop; what it has opened is kept until SQLite's `data_version` says that
somebody committed, so a change by another process shows at once. Writes go through one connection on a thread of its
own, each in an immediate transaction, on the disk (WAL, synchronous FULL) before they are acknowledged. What a flipped
or swapped row could change is inside the seals: which version is current, what a token opens, where a route leads.
Whoever can write the file can still put an older state of it back, and so undo a revocation or a count of uses; and
where the log that a crash left is damaged, SQLite goes by what was committed before the damage.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._http.json import JSON, MAX_ANSWER
from . import keyring, sealing
from .errors import IntegrityError, StoreError
from .models import Denial, Grant, Kind, Rate, Route, SecretRef, StoredResponse, Variable, check_name
from .sealing import Keyring
from .store import sqlite as database
from .tokens import fingerprint, is_token, new_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
VAULT_FILE = "vault.db"
KEPT = 24 * 3600.0
"""Seconds that the first result of an idempotent call is kept."""

_LONGEST = 100 * 366 * 86400.0  # seconds
_FRESH = 0.001  # seconds for which what was opened is not asked about again: one request asks for three things


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

    @cached_property
    def lease(self) -> Grant:
        """What one use of it opens."""
        return Grant(self.id, self.kind, self.name)


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
        with database.failures(self.path):
            self._reader = database.reader(self.path)
            try:
                self._token_key = sealing.derive(self._root(), b"double-o token")
                self._writer = database.writer(self.path)
            except BaseException:
                self._reader.close()
                raise
        self._thread = ThreadPoolExecutor(1, "oo-vault")
        self._data_version = -1
        self._checked = float("-inf")
        self._opened: dict[Any, Any] = {}

    @staticmethod
    def create(home: Path, ring: Keyring) -> None:
        """Make a new vault; StoreError where there is one."""
        path = home / VAULT_FILE
        home.mkdir(parents=True, exist_ok=True, mode=0o700)

        def fill(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO meta VALUES ('key', ?)", (ring.current,))
            root = ring.seal(ring.current, "root", "root", 1, sealing.new_key())
            db.execute("INSERT INTO records VALUES ('root', 'root', 1, ?, ?)", (ring.current, root))

        try:
            with database.failures(path):
                database.create(path, fill)
        except FileExistsError:
            raise StoreError(f"there is a vault at {path} already") from None

    async def redeem(self, token: str, kind: Kind, spend: bool = True) -> Grant | Denial:
        """Spend one use of a token; with `spend=False`, only say whether it would open a thing of that kind."""
        if not is_token(token):
            return Denial("malformed")
        hashed = fingerprint(self._token_key, token)
        found = self._cached(hashed, lambda: self._token(hashed))
        if found is None:
            return Denial("unknown")
        if found.revoked is not None:
            return Denial("revoked", found.id)
        if found.expires is not None and time.time() >= found.expires:
            return Denial("expired", found.id)
        if found.kind != kind:
            return Denial("wrong kind", found.id)
        if spend and (found.uses is not None or found.rate is not None):
            denial = await self._write(lambda db: _spend(db, found))
            if denial is not None:
                return denial
        return found.lease

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
    ) -> StoredResponse | float | Literal["taken", "other"]:
        call, digest = self._hashed(key.encode()), self._hashed(digest)

        def write(db: sqlite3.Connection) -> StoredResponse | float | Literal["taken", "other"]:
            now = time.time()
            for token, old in db.execute("SELECT token, call FROM results WHERE at < ?", (now - KEPT,)).fetchall():
                self._drop_result(db, token, old)
            row = db.execute(
                "SELECT digest, until FROM results WHERE token = ? AND call = ?", (token_id, call)
            ).fetchone()
            if row is not None and not hmac.compare_digest(_expect(bytes, row[0]), digest):
                return "other"
            stored = self._json("result", _result_name(token_id, call), db) if row is not None else None
            if stored is not None:
                headers = tuple((name, value) for name, value in stored["headers"])
                return StoredResponse(stored["status"], headers, bytes.fromhex(stored["body"]))
            if row is not None and _expect(float, row[1]) > now:
                return "taken"
            # Nobody's, or that of a process which died over it.
            until = now + seconds
            db.execute("REPLACE INTO results VALUES (?, ?, ?, ?, ?)", (token_id, call, digest, now, until))
            return until

        return await self._write(write)

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        call = self._hashed(key.encode())

        def write(db: sqlite3.Connection) -> float | None:
            # Whoever takes a claim over holds it until later than that, so its end tells whose it is.
            later = max(time.time() + seconds, until)
            held = "UPDATE results SET until = ? WHERE token = ? AND call = ? AND until = ?"
            return later if db.execute(held, (later, token_id, call, until)).rowcount else None

        return await self._write(write)

    async def settle(self, token_id: str, key: str, until: float, result: StoredResponse | None) -> None:
        call = self._hashed(key.encode())

        def write(db: sqlite3.Connection) -> None:
            held = "SELECT 1 FROM results WHERE token = ? AND call = ? AND until = ?"
            if db.execute(held, (token_id, call, until)).fetchone() is None:
                return
            if result is None:
                self._drop_result(db, token_id, call)
                return
            data = {"status": result.status, "headers": result.headers, "body": result.body.hex()}
            self._put(db, "result", _result_name(token_id, call), 0, data)

        await self._write(write)

    async def put_secret(self, name: str, value: str) -> int:
        """Keep a new version of a secret, and make it the current one; gives its number."""
        check_name(name)
        _check_size({"value": value})

        def write(db: sqlite3.Connection) -> int:
            head = self._head(name, db)
            latest = 1 if head is None else int(head["latest"]) + 1
            self._put(db, "secret", name, latest, {"value": value, "created": time.time()})
            self._put(db, "head", name, 0, {"current": latest, "latest": latest})
            return latest

        return await self._write(write)

    async def versions(self, name: str) -> list[Version]:
        """The versions of a secret, the oldest first."""
        check_name(name)
        with database.snapshot(self._reader):
            head = self._known(name)
            numbers = self._rows(
                "SELECT version FROM records WHERE kind = 'secret' AND name = ? ORDER BY version", (name,)
            )
            return [
                Version(number, json.loads(self._read("secret", name, number))["created"], number == head["current"])
                for (number,) in numbers
            ]

    async def rollback(self, name: str, version: int | None = None) -> int:
        """Make an earlier version of a secret the current one: the one before it, unless told; gives its number."""
        check_name(name)

        def write(db: sqlite3.Connection) -> int:
            head = self._known(name, db)
            current = int(head["current"])
            wanted = current - 1 if version is None else version
            if self._read_or_none("secret", name, wanted, db) is None:
                lacks = f"before {current}" if version is None else str(version)
                raise StoreError(f"the secret {name!r} has no version {lacks}")
            self._put(db, "head", name, 0, {**head, "current": wanted})
            return wanted

        return await self._write(write)

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        """Keep an environment, in the place of an earlier one of that name."""
        check_name(name)
        stored = {
            key: {"secret": value.name} if isinstance(value, SecretRef) else {"literal": value}
            for key, value in variables.items()
        }
        needed = {value.name for value in variables.values() if isinstance(value, SecretRef)}

        def write(db: sqlite3.Connection) -> None:
            self._put_user(db, "env", name, stored, needed)
            secrets = {secret: self._secret(secret, db) for secret in needed}
            _check_size({key: secrets[v.name] if isinstance(v, SecretRef) else v for key, v in variables.items()})

        await self._write(write)

    async def put_route(self, route: Route) -> None:
        """Keep a route, in the place of an earlier one of that name."""
        await self._write(lambda db: self._put_user(db, "route", route.name, asdict(route), route.secrets))

    async def names(self, kind: Kind) -> list[str]:
        """The names of the things of a kind."""
        return self._names(kind)

    async def variables(self, name: str) -> dict[str, Variable] | None:
        """An environment's variables as they were put."""
        stored = self._json("env", name)
        if stored is None:
            return None
        return {
            key: SecretRef(value["secret"]) if "secret" in value else value["literal"] for key, value in stored.items()
        }

    async def remove(self, kind: Kind, name: str) -> None:
        """Forget a thing, and revoke its tokens: a later thing of that name is not theirs to open. StoreError where
        there is none, or where others need it."""
        kinds = ("secret", "head") if kind == "secret" else (kind,)

        def write(db: sqlite3.Connection) -> None:
            users = self._users(name, db) if kind == "secret" else []
            if users:
                raise StoreError(f"the secret {name!r} is needed by {', '.join(users)}")
            gone = [db.execute("DELETE FROM records WHERE kind = ? AND name = ?", (each, name)) for each in kinds]
            if not any(each.rowcount for each in gone):
                raise StoreError(f"there is no {kind} {name!r}")
            for token in self._tokens(db):
                if (token.kind, token.name) == (kind, name):
                    self._revoke(db, token.id)

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
        if ttl is not None and not abs(ttl) <= _LONGEST:  # which NaN is not either
            raise StoreError("a token lasts 100 years at most")
        token, now = new_token(), time.time()
        hashed = fingerprint(self._token_key, token)
        identity = hashlib.sha256(hashed).hexdigest()[:12]
        expires = None if ttl is None else now + ttl
        record = Token(identity, kind, name, label, now, expires, uses, rate, None, hashed.hex())

        def write(db: sqlite3.Connection) -> None:
            if name not in self._names(kind, db):
                raise StoreError(f"there is no {kind} {name!r}")
            db.execute("INSERT INTO tokens (hash, id) VALUES (?, ?)", (hashed, identity))
            self._put(db, "token", identity, 0, asdict(record))

        await self._write(write)
        return token

    async def tokens(self) -> list[Token]:
        """Every token that was issued, the oldest first."""
        with database.snapshot(self._reader):
            return sorted(self._tokens(), key=lambda token: token.issued)

    async def revoke(self, token_id: str) -> None:
        """Let a token open nothing from now on."""
        await self._write(lambda db: self._revoke(db, token_id))

    async def rekey(self, ring: Keyring) -> int:
        """Seal everything that is not sealed with the ring's current key anew, each record in a transaction of its
        own; gives how many. Readers open either key meanwhile, and a killed run is taken up by the next."""

        def begin(db: sqlite3.Connection) -> None:
            if any(key not in ring for (key,) in self._rows("SELECT DISTINCT key FROM records", db=db)):
                raise StoreError("the vault holds what none of these keys opens; nothing was changed")
            db.execute("REPLACE INTO meta VALUES ('key', ?)", (ring.current,))

        def renew(db: sqlite3.Connection, place: tuple[str, str, int]) -> int:
            if self._current(db) != ring.current:
                raise StoreError("another `oo rekey` has taken over")
            data = self._read_or_none(*place, db=db)
            if data is None:
                return 0  # removed since it was looked for
            self._put_bytes(db, *place, data)
            return 1

        await self._write(begin)
        self._ring = ring
        count = 0
        while places := self._rows("SELECT kind, name, version FROM records WHERE key <> ? LIMIT 256", (ring.current,)):
            for place in places:
                count += await self._write(lambda db, place=place: renew(db, place))  # type: ignore[misc]
        if not await self._on_thread(lambda: database.compact(self._writer)):
            raise StoreError("others are busy with the vault, and its file still holds what the old key opens")
        return count

    async def close(self) -> None:
        """Close the file."""
        self._thread.shutdown()
        # The last to close carries the log over into the file, which the reader cannot.
        self._reader.close()
        self._writer.close()

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
        with database.snapshot(self._reader):
            found = read()
        # Nothing is kept of what is not there: callers could ask for ever more of it.
        if found is not None:
            self._opened[key] = found
        return found

    def _rows(self, query: str, values: tuple[Any, ...] = (), db: sqlite3.Connection | None = None) -> list[Any]:
        with database.failures(self.path):
            return (db or self._reader).execute(query, values).fetchall()

    def _root(self) -> bytes:
        try:
            return self._read("root", "root", 1)
        except IntegrityError:
            pass
        raise StoreError(f"the master key does not open the vault {self.path}; nothing was changed")

    def _read(self, kind: str, name: str, version: int, db: sqlite3.Connection | None = None) -> bytes:
        value = self._read_or_none(kind, name, version, db)
        if value is None:
            raise IntegrityError(f"the {kind} {name!r} is missing from the vault")
        return value

    def _read_or_none(self, kind: str, name: str, version: int, db: sqlite3.Connection | None = None) -> bytes | None:
        query = "SELECT key, sealed FROM records WHERE kind = ? AND name = ? AND version = ?"
        for key, sealed in self._rows(query, (kind, name, version), db):
            ring = self._ring_with(key)
            if ring is None:
                raise IntegrityError(f"the {kind} {name!r} in the vault was sealed with a key that is not on the ring")
            return ring.open(key, kind, name, version, sealed)
        return None

    def _ring_with(self, key: str) -> Keyring | None:
        ring = self._ring
        if key not in ring:
            # `oo rekey` has been, or is, at work.
            ring = self._ring = self._load()
        return ring if key in ring else None

    def _json(self, kind: str, name: str, db: sqlite3.Connection | None = None) -> JSON:
        data = self._read_or_none(kind, name, 0, db)
        return None if data is None else json.loads(data)

    def _head(self, name: str, db: sqlite3.Connection | None = None) -> JSON:
        head = self._json("head", name, db)
        ((latest,),) = self._rows("SELECT max(version) FROM records WHERE kind = 'secret' AND name = ?", (name,), db)
        # An old head would make an old version the current one, and have the next write go over a later one.
        if latest != (None if head is None else head["latest"]):
            raise IntegrityError(f"the versions of the secret {name!r} in the vault are not those that were put there")
        return head

    def _known(self, name: str, db: sqlite3.Connection | None = None) -> dict[str, int]:
        head: dict[str, int] | None = self._head(name, db)
        if head is None:
            raise StoreError(f"there is no secret {name!r}")
        return head

    def _secret(self, name: str, db: sqlite3.Connection | None = None) -> str | None:
        head = self._head(name, db)
        if head is None:
            return None
        value: str = json.loads(self._read("secret", name, int(head["current"]), db))["value"]
        return value

    async def _variable(self, env: str, key: str, stored: Mapping[str, str]) -> str:
        if "literal" in stored:
            return stored["literal"]
        value = await self.secret(stored["secret"])
        if value is None:
            raise IntegrityError(f"the secret of {key} in the environment {env!r} is missing from the vault")
        return value

    def _route(self, name: str, db: sqlite3.Connection | None = None) -> Route | None:
        stored = self._json("route", name, db)
        return None if stored is None else Route(**{**stored, "allow": tuple(stored["allow"])})

    def _token(self, hashed: bytes, db: sqlite3.Connection | None = None) -> Token | None:
        rows = self._rows("SELECT id, used FROM tokens WHERE hash = ?", (hashed,), db)
        return self._token_of((hashed, *rows[0]), db) if rows else None

    def _tokens(self, db: sqlite3.Connection | None = None) -> list[Token]:
        return [self._token_of(row, db) for row in self._rows("SELECT hash, id, used FROM tokens", db=db)]

    def _token_of(self, row: tuple[bytes, str, int], db: sqlite3.Connection | None) -> Token:
        hashed, identity, used = row
        stored = json.loads(self._read("token", identity, 0, db))
        # A row may have been pointed at another token's record.
        if not hmac.compare_digest(stored["hash"], _expect(bytes, hashed).hex()):
            raise IntegrityError(f"the token {identity!r} in the vault is not the one that was stored there")
        rate = stored["rate"] and Rate(**stored["rate"])
        return Token(**{**stored, "rate": rate, "used": _expect(int, used)})

    def _revoke(self, db: sqlite3.Connection, token_id: str) -> None:
        record = self._json("token", token_id, db)
        if record is None:
            raise StoreError(f"there is no token {token_id!r}; `oo token list` shows the ids")
        self._put(db, "token", token_id, 0, {**record, "revoked": record["revoked"] or time.time()})

    def _names(self, kind: Kind, db: sqlite3.Connection | None = None) -> list[str]:
        stored = "head" if kind == "secret" else kind
        return [name for (name,) in self._rows("SELECT name FROM records WHERE kind = ? ORDER BY name", (stored,), db)]

    def _users(self, secret: str, db: sqlite3.Connection) -> list[str]:
        envs = {name: self._json("env", name, db).values() for name in self._names("env", db)}
        routes = {name: self._route(name, db) for name in self._names("route", db)}
        return [f"the environment {name!r}" for name, values in envs.items() if {"secret": secret} in values] + [
            f"the route {name!r}" for name, route in routes.items() if route is not None and secret in route.secrets
        ]

    def _put_user(self, db: sqlite3.Connection, kind: Kind, name: str, data: JSON, needed: Iterable[str]) -> None:
        for secret in sorted(needed):
            if self._json("head", secret, db) is None:
                raise StoreError(f"there is no secret {secret!r}: `oo secret set {secret}` first")
        self._put(db, kind, name, 0, data)

    def _put(self, db: sqlite3.Connection, kind: str, name: str, version: int, data: JSON) -> None:
        self._put_bytes(db, kind, name, version, json.dumps(data).encode())

    def _put_bytes(self, db: sqlite3.Connection, kind: str, name: str, version: int, data: bytes) -> None:
        current = self._current(db)
        ring = self._ring_with(current)
        if ring is None:
            raise StoreError("the vault was moved to another master key: restart with the new one")
        sealed = ring.seal(current, kind, name, version, data)
        db.execute("REPLACE INTO records VALUES (?, ?, ?, ?, ?)", (kind, name, version, current, sealed))

    def _current(self, db: sqlite3.Connection) -> str:
        for (key,) in self._rows("SELECT value FROM meta WHERE name = 'key'", db=db):
            return str(key)
        raise IntegrityError("the vault does not say which master key is its own")

    def _drop_result(self, db: sqlite3.Connection, token: str, call: bytes) -> None:
        db.execute("DELETE FROM results WHERE token = ? AND call = ?", (token, call))
        db.execute("DELETE FROM records WHERE kind = 'result' AND name = ?", (_result_name(token, call),))

    def _hashed(self, data: bytes) -> bytes:
        return hmac.digest(self._token_key, data, "sha256")

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            with database.transaction(self._writer):
                return change(self._writer)

        try:
            return await self._on_thread(write)
        finally:
            self._checked = float("-inf")

    async def _on_thread(self, work: Callable[[], T]) -> T:
        def safe() -> T:
            with database.failures(self.path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, safe)


def _spend(db: sqlite3.Connection, token: Token) -> Denial | None:
    hashed, now = bytes.fromhex(token.hash), time.time()
    used, tat = db.execute("SELECT used, tat FROM tokens WHERE hash = ?", (hashed,)).fetchone()
    if token.uses is not None and _expect(int, used) >= token.uses:
        return Denial("used up", token.id)
    if token.rate is not None:
        # The generic cell rate algorithm: `tat` is when the bucket would be full again, which is a whole filling away
        # at most; more is a clock that was set back.
        tat = min(max(_expect(float, tat), now), now + token.rate.seconds) + token.rate.seconds / token.rate.count
        wait = tat - token.rate.seconds - now
        # Rounding must not take the last of the burst away.
        if wait > 1e-6:
            return Denial("rate", token.id, wait)
    db.execute("UPDATE tokens SET used = used + 1, tat = ? WHERE hash = ?", (tat, hashed))
    return None


def _expect(kind: type[T], value: object) -> T:
    """The value of a column that is not sealed: in a damaged file it may be anything."""
    if not isinstance(value, kind):
        raise IntegrityError("the vault is damaged: a column of it holds what was never put there")
    return value


def _result_name(token: str, call: bytes) -> str:
    return f"{token}.{call.hex()}"


def _check_size(answer: Mapping[str, str | None]) -> None:
    if len(json.dumps(answer)) > MAX_ANSWER - 16:  # "secrets" stands around an environment
        raise StoreError(f"that is larger than {MAX_ANSWER} bytes as JSON, more than a client takes")
