"""What every store does alike over its rows: the owner's changes, what is read of things, who a token is."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from . import sealing
from .errors import StoreError
from .models import (
    AuthorityKey,
    Denial,
    Grant,
    Kind,
    Rate,
    Route,
    StoredResponse,
    Token,
    Variable,
    Version,
    check_name,
)
from .rules import MAX_TTL, check_variable
from .store import authority_rows, data_keys, secret_versions, things, token_rows
from .store.records import Records
from .store.rows import Place
from .tokens import fingerprint, is_token, new_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
Work = Callable[[Records], Coroutine[Any, Any, T]]
_STEP = 256  # records that are looked for at once, to be sealed anew


class _Calls(Protocol):
    """What an engine knows of calls with an idempotency key, each by the keyed hash of its key. See Store."""

    async def result(
        self, token_id: str, call: bytes, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None: ...

    async def renew(self, token_id: str, call: bytes, fence: bytes, seconds: float) -> bool: ...

    async def complete(
        self, token_id: str, call: bytes, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None: ...

    async def release(self, token_id: str, call: bytes, fence: bytes) -> None: ...


class RecordKeeper(ABC):
    """A store over sealed records. An engine brings `_root`, `_now`, `_look`, `_kept` and `_change`, its `_calls`,
    `_learn`, `_reseal` and `_cleaned` for its keys, and counts uses, rates and claims in a way of its own."""

    _calls: _Calls

    def __init__(self, load: Callable[[], sealing.MasterKeys]) -> None:
        self._keys = data_keys.DataKeys(load)
        self._derived = (b"", b"")  # a root, and the key of tokens that is derived from it

    @property
    @abstractmethod
    def _root(self) -> bytes:
        """The store's own random key."""

    @abstractmethod
    def _now(self) -> float:
        """The store's own time, in seconds since 1970."""

    @abstractmethod
    async def _look(self, work: Work[T]) -> T:
        """What some work reads, all of it as of one moment."""

    @abstractmethod
    async def _kept(self, key: tuple[str, str] | bytes, work: Work[T]) -> T:
        """What some work reads, or read since the last change of an owner."""

    @abstractmethod
    async def _change(self, work: Work[T]) -> T:
        """Make an owner's change, whole or not at all. Every process sees it from then on."""

    @abstractmethod
    async def _learn(self) -> list[data_keys.DataKey]:
        """Unwrap the data keys that were added meanwhile. Returns the rows of all."""

    @abstractmethod
    async def _reseal(self, places: Sequence[Place]) -> int:
        """Seal records anew that say the same as before; how many are still there."""

    async def _cleaned(self) -> None:  # noqa: B027  # most cannot
        """Leave nothing of what was replaced in what is kept."""

    async def _acknowledged(self) -> None:  # noqa: B027  # most need nothing
        """Wait until every process has seen the last change. Where each looks before it answers, there is nothing to
        wait for."""

    # What a running gateway asks.

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        found = await self._opened(token, kind)
        return found if isinstance(found, Denial) else found.grant

    async def secret(self, name: str) -> str | None:
        return await self._kept(("secret", name), lambda records: secret_versions.current(records, name))

    async def environment(self, name: str) -> dict[str, str] | None:
        values = await self._kept(("env", name), lambda records: things.environment(records, name))
        return None if values is None else dict(values)

    async def route(self, name: str) -> Route | None:
        return await self._kept(("route", name), lambda records: things.route(records, name))

    async def bundle(self, name: str) -> tuple[str, ...] | None:
        return await self._kept(("bundle", name), lambda records: things.bundle(records, name))

    async def authority(self) -> tuple[AuthorityKey, ...]:
        found = await self._kept(("authority", ""), authority_rows.find)
        if found is None:
            from .authority import new_key

            private = new_key()
            found = await self._change(lambda records: authority_rows.begin(records, private))
        return found

    async def cors(self) -> frozenset[str]:
        return await self._kept(("cors", ""), things.origins)

    def result(
        self, token_id: str, key: str, digest: bytes
    ) -> Coroutine[Any, Any, StoredResponse | Literal["taken", "other", "gone"] | None]:
        return self._calls.result(token_id, self._call(key), sealing.keyed_hash(self._token_key, digest))

    def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> Coroutine[Any, Any, bool]:
        return self._calls.renew(token_id, self._call(key), fence, seconds)

    def complete(
        self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> Coroutine[Any, Any, None]:
        hashed = sealing.keyed_hash(self._token_key, digest)
        return self._calls.complete(token_id, self._call(key), fence, hashed, response)

    def release(self, token_id: str, key: str, fence: bytes) -> Coroutine[Any, Any, None]:
        return self._calls.release(token_id, self._call(key), fence)

    # What its owner asks.

    async def put_secret(self, name: str, value: str) -> int:
        check_name(name)
        things.check_size({"value": value})
        return await self._change(lambda records: secret_versions.add(records, name, value))

    async def versions(self, name: str) -> list[Version]:
        check_name(name)
        return await self._look(lambda records: secret_versions.listed(records, name))

    async def rollback(self, name: str, version: int | None = None) -> int:
        check_name(name)
        return await self._change(lambda records: secret_versions.roll_back(records, name, version))

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        check_name(name)
        for key, value in variables.items():
            check_variable(key, value)
        await self._change(lambda records: things.put_environment(records, name, variables))

    async def put_route(self, route: Route) -> None:
        await self._change(lambda records: things.put_route(records, route))

    async def put_bundle(self, name: str, routes: Sequence[str]) -> None:
        check_name(name)
        await self._change(lambda records: things.put_bundle(records, name, routes))

    async def put_authority(self, keys: Sequence[AuthorityKey]) -> None:
        await self._change(lambda records: authority_rows.put(records, keys))

    async def names(self, kind: Kind) -> list[str]:
        return await self._look(lambda records: things.names(records, kind))

    async def variables(self, name: str) -> dict[str, Variable] | None:
        return await self._look(lambda records: things.variables(records, name))

    async def remove(self, kind: Kind, name: str) -> None:
        await self._change(lambda records: things.remove(records, kind, name))
        await self._acknowledged()

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
        if ttl is not None and not abs(ttl) <= MAX_TTL:  # NaN is refused too
            raise StoreError("a token lasts 100 years at most")
        token, now = new_token(), self._now()
        hashed = fingerprint(self._token_key, token)
        identity = _identity(hashed)
        expires = None if ttl is None else now + ttl
        record = Token(identity, kind, name, label, now, expires, uses, rate, None, hashed.hex(), 0, concurrency)

        async def write(records: Records) -> None:
            if not await things.has(records, kind, name):
                raise StoreError(f"there is no {kind} {name!r}")
            await token_rows.add(records, record)

        await self._change(write)
        return token

    def id_of(self, token: str) -> str:
        return _identity(fingerprint(self._token_key, token))

    async def tokens(self) -> list[Token]:
        return sorted(await self._look(token_rows.every), key=lambda token: token.issued)

    async def revoke(self, token_id: str) -> None:
        await self._change(lambda records: token_rows.revoke(records, token_id))
        await self._acknowledged()

    async def remove_tokens(self, useless: Callable[[Token], bool]) -> list[Token]:
        async def write(records: Records) -> list[Token]:
            removed = [token for token in await token_rows.every(records) if useless(token)]
            for token in removed:
                await token_rows.remove(records, token)
            return removed

        return await self._change(write)

    async def rekey(self, masters: sealing.MasterKeys, *, deep: bool = False) -> int:
        count = await self._rewrap(masters, deep)
        self._keys.masters = masters
        if deep:
            await self._learn()
            count = 0
            while places := await self._look(lambda records: data_keys.sealed_otherwise(records.rows, _STEP)):
                count += await self._with_keys(partial(self._reseal, places))
            aged = self._keys.aged(self._now())
            # It raises the epoch, so every process reads what is sealed anew, and unwraps the keys of that.
            await self._change(lambda records: data_keys.finish(records.rows, aged))
        await self._cleaned()
        return count

    async def keys(self) -> list[data_keys.DataKey]:
        return await self._look(lambda records: data_keys.every(records.rows))

    async def warnings(self) -> list[str]:
        rows = await self.keys()
        await self._learn()
        return data_keys.warnings(rows, self._keys)

    @abstractmethod
    async def close(self) -> None:
        """Close it, after the changes that were begun."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # What its records are sealed with.

    async def _with_keys(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What is attempted: again, where it met a data key that was added meanwhile."""
        return await self._keys.with_new(attempt, self._learn)

    async def _rewrap(self, masters: sealing.MasterKeys, deep: bool) -> int:
        """Wrap the data keys with the current master key, and add new ones where records are to be sealed anew. Returns
        how many were there to wrap."""

        while True:
            rows = await self._look(lambda records: data_keys.whole(records.rows))
            # Outside of the transaction, since a KMS may be asked.
            wrapped = wanted = await asyncio.to_thread(data_keys.rewrapped, rows, masters)
            if deep:  # also after a run that was stopped: somebody may have learnt the keys of that by now
                wanted = wrapped + await asyncio.to_thread(data_keys.successors, rows, masters)
            if await self._change(partial(_replace, rows, wanted)):
                return len(wrapped)

    # Who a token is.

    @property
    def _token_key(self) -> bytes:
        root = self._root
        if root is not self._derived[0]:
            self._derived = (root, sealing.derive(root, b"double-o token"))
        return self._derived[1]

    async def _opened(self, token: str, kind: Kind) -> Token | Denial:
        found = await self._find_token(token)
        if isinstance(found, Denial):
            return found
        outcome = found.opens(kind, self._now())
        return outcome if isinstance(outcome, Denial) else found

    async def _find_token(self, token: str) -> Token | Denial:
        found = await self._kept(kept_as(token), lambda records: self._found(records, token))
        return found or Denial("unknown" if is_token(token) else "malformed")

    async def _found(self, records: Records, token: str) -> Token | None:
        return await token_rows.find(records, fingerprint(self._token_key, token)) if is_token(token) else None

    def _call(self, key: str) -> bytes:
        return _hash_of_call(self._token_key, key)


async def _replace(seen: Sequence[data_keys.DataKey], wanted: Sequence[data_keys.DataKey], records: Records) -> bool:
    return await data_keys.replace(records.rows, seen, wanted)


@lru_cache(1024)
def _hash_of_call(token_key: bytes, key: str) -> bytes:
    """What an idempotency key is known by: it is asked for when a call is claimed, and when it was made."""
    return sealing.keyed_hash(token_key, key.encode())


def kept_as(token: str) -> bytes:
    """By what the terms of a token are kept: a hash that takes a third of the time of the one that is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _identity(hashed: bytes) -> str:
    return hashlib.sha256(hashed).hexdigest()[:12]
