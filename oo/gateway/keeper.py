"""What every store does alike over its rows: the owner's changes, what is read of things, who a token is."""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from .._http.response import JSON
from . import sealing
from .errors import IntegrityError, StoreError
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
from .store import authority_rows, secret_versions, things, token_rows
from .store.records import Records
from .tokens import fingerprint, is_token, new_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
Work = Callable[[Records], Coroutine[Any, Any, T]]


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
    """A store over sealed records. An engine brings `_root`, `_now`, `_look`, `_kept` and `_change`, its `_calls`, and
    counts uses, rates and claims in a way of its own."""

    _calls: _Calls

    def __init__(self) -> None:
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
        async def read(records: Records) -> dict[str, str] | None:
            stored: JSON = await records.find_json("env", name)
            return None if stored is None else {key: await _value(records, name, key, stored[key]) for key in stored}

        values = await self._kept(("env", name), read)
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

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        return await self._calls.result(token_id, self._call(key), self._hashed(digest))

    async def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> bool:
        return await self._calls.renew(token_id, self._call(key), fence, seconds)

    async def complete(
        self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        await self._calls.complete(token_id, self._call(key), fence, self._hashed(digest), response)

    async def release(self, token_id: str, key: str, fence: bytes) -> None:
        await self._calls.release(token_id, self._call(key), fence)

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
        hashed = self._hashed(token.encode())
        identity = _identity(hashed)
        expires = None if ttl is None else now + ttl
        record = Token(identity, kind, name, label, now, expires, uses, rate, None, hashed.hex(), 0, concurrency)

        async def write(records: Records) -> None:
            if name not in await things.names(records, kind):
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

    async def warnings(self) -> list[str]:
        return []

    @abstractmethod
    async def close(self) -> None:
        """Close it, after the changes that were begun."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

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
        return self._hashed(key.encode())

    def _hashed(self, data: bytes) -> bytes:
        return hmac.digest(self._token_key, data, "sha256")


def kept_as(token: str) -> bytes:
    """By what the terms of a token are kept: a hash that takes a third of the time of the one that is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def _value(records: Records, env: str, key: str, stored: Mapping[str, str]) -> str:
    if "literal" in stored:
        return stored["literal"]
    value = await secret_versions.current(records, stored["secret"])
    if value is None:
        raise IntegrityError(f"the secret of {key} in the environment {env!r} is missing from the vault")
    return value


def _identity(hashed: bytes) -> str:
    return hashlib.sha256(hashed).hexdigest()[:12]
