"""The vault: a Store in one SQLite file, every value sealed, with the answers to idempotent calls in another beside it.

What was read and opened is kept until an owner's change is committed, which draws the vault's epoch anew, so a change
by another process shows at once. What is counted is read from the file each time. A write is on the disk (WAL,
synchronous FULL) before it is acknowledged.

Everything security-relevant is in the authenticated blob, so edited or swapped rows are detected: which version is
current, what a token opens, where a route leads. Two things are not detected. Whoever can write the file can restore
an older state of it, and so undo a revocation or a count of uses. And if the log that a crash left is damaged, SQLite
goes by what was committed before the damage.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

from .._http.response import JSON
from . import keyring, sealing
from .errors import IntegrityError, StoreError
from .freshness import ReadCache
from .models import Denial, Grant, Kind, Rate, Route, StoredResponse, Token, Variable, Version, check_name
from .rules import MAX_TTL, check_variable
from .sealing import Keyring, ReloadingKeyring
from .store import database, secret_versions, things, token_rows
from .store.keyed_calls import KeyedCalls
from .store.records import Records
from .store.results import RESULTS_FILE, Results
from .tokens import fingerprint, is_token, new_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
VAULT_FILE = "vault.db"


class Vault:
    """An open vault. `async with Vault(home)`; StoreError if there is none or the master key is another's."""

    is_embedded = True
    """What is read of it lies in this process's memory mostly."""

    def __init__(self, home: Path, load: Callable[[], Keyring] | None = None) -> None:
        self.path = home / VAULT_FILE
        self._keys = ReloadingKeyring(load or (lambda: keyring.load(home)))
        if not self.path.exists():
            raise StoreError(f"there is no vault at {self.path}: run `oo init`")
        self._database = database.Database(self.path, self._keys)
        self._derived = (b"", b"")  # a root, and the key of tokens that is derived from it
        self._reads = ReadCache(self._database.version)
        self._results = Results(home / RESULTS_FILE, lambda: self._database.root)
        self._calls = KeyedCalls(self._database, self._results)

    @staticmethod
    def create(home: Path, ring: Keyring) -> None:
        """Make a new vault; StoreError if there is one."""
        database.create(home / VAULT_FILE, ring)

    # What a running gateway asks: the Store.

    async def check(self) -> None:
        self._database.check()

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        found = self._judged(token, kind, key)
        if isinstance(found, Denial):
            return found  # which writes nothing
        if found.rate is None:
            return found.grant
        return await self._database.write(lambda records: token_rows.charge(records, found)) or found.grant

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        found = self._opened(token, kind)
        return found if isinstance(found, Denial) else found.grant

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        found = self._opened(token, kind)
        if isinstance(found, Denial):
            return found
        if found.uses is None:
            return found.grant
        return await self._database.write(lambda records: token_rows.consume(records, found)) or found.grant

    async def secret(self, name: str) -> str | None:
        return self._read(("secret", name), lambda records: secret_versions.current(records, name))

    async def environment(self, name: str) -> dict[str, str] | None:
        variables: JSON = self._read(("env", name), lambda records: records.find_json("env", name))
        if variables is None:
            return None
        return {key: await self._variable(name, key, value) for key, value in variables.items()}

    async def route(self, name: str) -> Route | None:
        return self._read(("route", name), lambda records: things.route(records, name))

    async def cors(self) -> frozenset[str]:
        return self._read(("cors", ""), lambda records: things.origins(records))

    async def claim(self, token: str, key: str, seconds: float) -> float | Denial | Literal["taken"]:
        found = self._opened(token, "route")
        if isinstance(found, Denial):
            return found
        return await self._calls.claim(found, self._call(key), seconds)

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        return await self._calls.result(token_id, self._call(key), self._hashed(digest))

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        return await self._calls.renew(token_id, self._call(key), until, seconds)

    async def complete(
        self, token_id: str, key: str, until: float, digest: bytes, response: StoredResponse | None
    ) -> None:
        await self._calls.complete(token_id, self._call(key), until, self._hashed(digest), response)

    async def release(self, token_id: str, key: str, until: float) -> None:
        await self._calls.release(token_id, self._call(key), until)

    # What its owner asks.

    async def put_secret(self, name: str, value: str) -> int:
        """Write a new version of a secret and make it the current one. Returns its number."""
        check_name(name)
        things.check_size({"value": value})
        return await self._write(lambda records: secret_versions.add(records, name, value))

    async def versions(self, name: str) -> list[Version]:
        """The versions of a secret, the oldest first; StoreError if there is no such secret."""
        check_name(name)
        return self._database.read(lambda records: secret_versions.listed(records, name))

    async def rollback(self, name: str, version: int | None = None) -> int:
        """Make an earlier version of a secret the current one; by default, the one before it. Returns its number."""
        check_name(name)
        return await self._write(lambda records: secret_versions.roll_back(records, name, version))

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        """Write an environment, in place of an earlier one of that name."""
        check_name(name)
        for key, value in variables.items():
            check_variable(key, value)
        await self._write(lambda records: things.put_environment(records, name, variables))

    async def put_route(self, route: Route) -> None:
        """Write a route, in place of an earlier one of that name."""
        await self._write(lambda records: things.put_route(records, route))

    async def names(self, kind: Kind) -> list[str]:
        """The names of a kind, in order."""
        return things.names(self._database.records, kind)

    async def variables(self, name: str) -> dict[str, Variable] | None:
        """An environment's variables as they were put, or None."""
        return things.variables(self._database.records, name)

    async def remove(self, kind: Kind, name: str) -> None:
        """Delete a thing and revoke its tokens, so that they don't open a later one of that name. StoreError if there
        is none, or if an environment or route needs it."""
        await self._write(lambda records: things.remove(records, kind, name))

    async def issue(
        self,
        kind: Kind,
        name: str,
        *,
        ttl: float | None = None,
        uses: int | None = None,
        rate: Rate | None = None,
        label: str = "",
        concurrency: int | None = None,
    ) -> str:
        """Make a token for one thing, for `ttl` seconds, `uses` uses and `concurrency` calls at once; None sets no
        limit. It cannot be read again later."""
        if ttl is not None and not abs(ttl) <= MAX_TTL:  # NaN is refused too
            raise StoreError("a token lasts 100 years at most")
        token, now = new_token(), time.time()
        hashed = fingerprint(self._token_key, token)
        identity = _identity(hashed)
        expires = None if ttl is None else now + ttl
        record = Token(identity, kind, name, label, now, expires, uses, rate, None, hashed.hex(), 0, concurrency)

        def write(records: Records) -> None:
            if name not in things.names(records, kind):
                raise StoreError(f"there is no {kind} {name!r}")
            token_rows.add(records, record)

        await self._write(write)
        return token

    def id_of(self, token: str) -> str:
        """The id of a token that was issued here."""
        return _identity(fingerprint(self._token_key, token))

    async def tokens(self) -> list[Token]:
        """Every token that was issued, the oldest first."""
        return sorted(self._database.read(token_rows.every), key=lambda token: token.issued)

    async def revoke(self, token_id: str) -> None:
        """Revoke a token; StoreError if there is none of that id."""
        await self._write(lambda records: token_rows.revoke(records, token_id))

    async def remove_tokens(self, useless: Callable[[Token], bool]) -> list[Token]:
        """Delete the tokens for which `useless` is true, and return them."""

        def write(records: Records) -> list[Token]:
            removed = [token for token in token_rows.every(records) if useless(token)]
            for token in removed:
                token_rows.remove(records, token)
            return removed

        return await self._write(write)

    async def rekey(self, ring: Keyring) -> int:
        """Reseal every record with the ring's current key, each in a transaction of its own. Returns their number.

        Meanwhile readers accept both keys. If interrupted, run it again: it continues.
        """
        await self._database.write(lambda records: records.begin_rekey(ring))
        self._keys.ring = ring
        count = 0
        while places := self._database.records.sealed_otherwise(ring.current):
            for place in places:
                count += await self._database.write(partial(Records.reseal, ring=ring, place=place))
        if not await self._database.compact():
            raise StoreError("others are busy with the vault, and its file still holds what the old key opens")
        return count

    async def close(self) -> None:
        """Close the files, after the changes that were begun."""
        self._results.close()
        self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _token_key(self) -> bytes:
        root = self._database.root
        if root is not self._derived[0]:
            self._derived = (root, sealing.derive(root, b"double-o token"))
        return self._derived[1]

    def _judged(self, token: str, kind: Kind, key: str | None) -> Token | Denial:
        """The terms of a token that opens a thing of that kind, has a use left and comes within its rate."""
        found = self._opened(token, kind)
        if isinstance(found, Denial):
            return found
        is_used_up = found.uses is not None and self._database.read(lambda r: token_rows.is_used_up(r, found))
        if is_used_up and (key is None or not self._calls.is_known(found.id, self._call(key))):
            return Denial("used up", found.id, label=found.label)
        if found.rate is None:
            return found
        return self._database.read(lambda records: token_rows.too_soon(records, found)) or found

    def _opened(self, token: str, kind: Kind) -> Token | Denial:
        found = self._find_token(token)
        if isinstance(found, Denial):
            return found
        outcome = found.opens(kind, time.time())
        return outcome if isinstance(outcome, Denial) else found

    def _find_token(self, token: str) -> Token | Denial:
        # What is kept is found by a hash that takes a third of the time of the one that is stored.
        kept = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = self._read(kept, lambda records: self._found(records, token))
        return found or Denial("unknown" if is_token(token) else "malformed")

    def _found(self, records: Records, token: str) -> Token | None:
        return token_rows.find(records, fingerprint(self._token_key, token)) if is_token(token) else None

    async def _variable(self, env: str, key: str, stored: Mapping[str, str]) -> str:
        if "literal" in stored:
            return stored["literal"]
        value = await self.secret(stored["secret"])
        if value is None:
            raise IntegrityError(f"the secret of {key} in the environment {env!r} is missing from the vault")
        return value

    def _read(self, key: tuple[str, str] | bytes, read: Callable[[Records], T]) -> T:
        return self._reads.get(key, lambda: self._database.read(read))

    async def _write(self, change: Callable[[Records], T]) -> T:
        """Make an owner's change, which every process sees from then on."""

        def changed(records: Records) -> T:
            records.draw_epoch()
            return change(records)

        try:
            return await self._database.write(changed)
        finally:
            self._reads.expire()

    def _call(self, key: str) -> bytes:
        return self._hashed(key.encode())

    def _hashed(self, data: bytes) -> bytes:
        return hmac.digest(self._token_key, data, "sha256")


def _identity(hashed: bytes) -> str:
    return hashlib.sha256(hashed).hexdigest()[:12]
