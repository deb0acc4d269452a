"""Idempotent calls in PostgreSQL: whose each is until when, and what was answered.

A claim is durable before it is acknowledged. An answer is kept in the transaction that notes its call as made.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from ... import kept
from ...errors import IntegrityError, StoreError
from ...models import Denial, StoredResponse, Token
from ...sealing import Keyring
from ..answer_pieces import MAX_PIECES, Call, Cut, day_of, joined, keyring_of, new_fence, parts_of
from ..batches import Batches
from ..data_keys import DataKeys
from ..rest import Rest
from .connections import Connection, Connections

_AT_ONCE = 128 << 10  # bytes of an answer that are sealed at once
_KNOWN = """
SELECT 1 FROM oo.claims WHERE token = $1 AND call = $2
AND CASE WHEN done THEN at > clock_timestamp() - make_interval(secs => $3) ELSE until > clock_timestamp() END
"""
_LOOK = _KNOWN.replace("1", "digest, fence, done, day, pieces", 1)
_PIECE = "SELECT sealed FROM oo.pieces WHERE token = $1 AND call = $2 AND fence = $3 AND number = $4"
_CLAIM = """
SELECT oo.claim(a.hash, a.revision, a.most, a.token, a.call, a.fence, a.seconds, $8)
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[], $7::float8[])
AS a (hash, revision, most, token, call, fence, seconds)
"""
_RENEW = """
UPDATE oo.claims SET until = greatest(until, clock_timestamp() + make_interval(secs => $4))
WHERE token = $1 AND call = $2 AND fence = $3 AND NOT done
"""
_RELEASE = "DELETE FROM oo.claims WHERE token = $1 AND call = $2 AND fence = $3 AND NOT done"
_COMPLETE = """
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int[], $6::int[], $7::bigint[])
    AS a (token, call, fence, digest, day, pieces, size)
), locked AS MATERIALIZED (
    SELECT c.token, c.call, c.fence FROM oo.claims c JOIN asked a USING (token, call)
    WHERE c.fence = a.fence AND NOT c.done ORDER BY c.token, c.call FOR UPDATE OF c
), made AS (
    UPDATE oo.claims c SET done = true, digest = a.digest, day = a.day, pieces = a.pieces, size = a.size
    FROM locked l JOIN asked a USING (token, call, fence)
    WHERE c.token = l.token AND c.call = l.call AND c.fence = l.fence
    RETURNING c.token, c.call, c.fence
)
INSERT INTO oo.pieces SELECT p.token, p.call, p.fence, p.number, p.sealed
FROM unnest($8::text[], $9::bytea[], $10::bytea[], $11::int[], $12::bytea[]) AS p (token, call, fence, number, sealed)
JOIN made USING (token, call, fence)
"""


class _Claiming(NamedTuple):
    token: Token
    call: bytes
    fence: bytes
    seconds: float


class _Made(NamedTuple):
    call: Call
    digest: bytes
    day: int
    size: int
    pieces: list[bytes]


class Calls:
    """What the store does for calls with an idempotency key. A call is known by the keyed hash of its key. `learn`
    unwraps the keys that were added, `now` is the store's time."""

    def __init__(
        self,
        connections: Connections,
        keys: DataKeys,
        learn: Callable[[], Awaitable[object]],
        now: Callable[[], float],
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._learn = learn
        self._now = now
        self._rest = Rest()
        self._claiming: Batches[_Claiming, str] = Batches(self._claim, most=64)
        self._completing: Batches[_Made, None] = Batches(self._complete, most=16)

    async def is_known(self, token_id: str, call: bytes) -> bool:
        """Whether a call is being made or was made, so that it costs no use."""
        found = await self._connections.run(lambda db: db.fetchval(_KNOWN, token_id, call, kept.KEPT), writes=False)
        return found is not None

    async def claim(self, token: Token, call: bytes, seconds: float) -> bytes | Denial | Literal["taken", "stale"]:
        """Claim a call and count a use, both or neither. See Store.claim; "stale" where the token's terms are not those
        that it was judged by."""
        fence = new_fence()
        try:
            outcome = await self._claiming.ask(_Claiming(token, call, fence, seconds))
        except asyncio.CancelledError:
            self._rest.run(self._left(token.id, call, fence))
            raise
        if outcome == "claimed":
            return fence
        if outcome == "used up":
            return token.denied(outcome)
        return "taken" if outcome == "taken" else "stale"

    async def result(
        self, token_id: str, call: bytes, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        """What is known of a call. See Store.result."""
        row = await self._connections.run(lambda db: db.fetchrow(_LOOK, token_id, call, kept.KEPT), writes=False)
        if row is None:
            return None
        bound, fence, done, day, pieces = row
        if bound and not hmac.compare_digest(bound, digest):
            return "other"
        if not done:
            return "taken"
        return await self._answer(Call(token_id, call, fence), day, pieces) or "gone"

    async def renew(self, token_id: str, call: bytes, fence: bytes, seconds: float) -> bool:
        """Extend a claim. See Store.renew."""
        found = await self._connections.run(lambda db: db.execute(_RENEW, token_id, call, fence, seconds))
        return str(found) != "UPDATE 0"

    async def complete(
        self, token_id: str, call: bytes, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        """Note that a call was made, and keep its answer. See Store.complete."""
        completing = self._complete_one(Call(token_id, call, fence), digest, response)
        # What takes its time is done even if whoever waits is cancelled; what does not is asked at once.
        takes_time = response is not None and isinstance(response.body, bytes) and len(response.body) > _AT_ONCE
        await (asyncio.shield(completing) if takes_time else completing)

    async def _complete_one(self, call: Call, digest: bytes, response: StoredResponse | None) -> None:
        made, failure = _Made(call, digest, 0, 0, []), None
        if response is not None:
            try:
                made = await self._with_answer(made, response)
            except StoreError as error:
                failure = error
        await self._completing.ask(made)
        if failure is not None:
            raise failure

    async def _with_answer(self, made: _Made, response: StoredResponse) -> _Made:
        """What is to be noted of a call, with its answer; StoreError where that cannot be kept."""
        cut = Cut(response, await parts_of(response))
        if cut.size > kept.MAX_OF_TOKEN or cut.pieces > MAX_PIECES:
            raise StoreError("there is no room for it")
        day = day_of(self._now())
        if cut.pieces == 1:
            sealed = self._sealed(made.call, day, cut)
        else:  # one of 16 MiB takes longer to seal than a loop may be held
            sealed = await asyncio.to_thread(self._sealed, made.call, day, cut)
        return made._replace(day=day, size=cut.size, pieces=sealed)

    async def _left(self, token_id: str, call: bytes, fence: bytes) -> None:
        """Release what is claimed for somebody who was cancelled."""
        await self._claiming.close()
        await self.release(token_id, call, fence)

    def _sealed(self, call: Call, day: int, cut: Cut) -> list[bytes]:
        return list(call.seal(self._ring(day), cut))

    async def release(self, token_id: str, call: bytes, fence: bytes) -> None:
        """Free the key of a call. See Store.release."""
        await self._connections.run(lambda db: db.execute(_RELEASE, token_id, call, fence))

    async def close(self) -> None:
        """Wait for what was begun."""
        await self._rest.close()
        await self._claiming.close()
        await self._completing.close()

    async def _claim(self, asked: Sequence[_Claiming]) -> list[str]:
        # Rows are locked in one order: uses by their hashes, claims by token and call.
        order = sorted(range(len(asked)), key=lambda n: (asked[n].token.hash, asked[n].call))
        each = [asked[n] for n in order]
        arrays = (
            [bytes.fromhex(one.token.hash) for one in each],
            [one.token.revision for one in each],
            [one.token.uses for one in each],
            [one.token.id for one in each],
            [one.call for one in each],
            [one.fence for one in each],
            [one.seconds for one in each],
        )
        rows = await self._connections.run(lambda db: db.fetch(_CLAIM, *arrays, kept.KEPT))
        answers = [""] * len(asked)
        for n, row in zip(order, rows, strict=True):
            answers[n] = row[0]
        return answers

    async def _complete(self, asked: Sequence[_Made]) -> list[None]:
        calls = [made.call for made in asked]
        of_calls = (
            *([call.token for call in calls], [call.key for call in calls], [call.fence for call in calls]),
            *([made.digest for made in asked], [made.day for made in asked]),
            *([len(made.pieces) for made in asked], [made.size for made in asked]),
        )
        pieces = [(made.call, number, sealed) for made in asked for number, sealed in enumerate(made.pieces)]
        of_pieces = (
            *([call.token for call, *_ in pieces], [call.key for call, *_ in pieces]),
            *([call.fence for call, *_ in pieces], [number for _, number, _ in pieces]),
            [sealed for *_, sealed in pieces],
        )
        await self._connections.run(lambda db: db.execute(_COMPLETE, *of_calls, *of_pieces))
        return [None] * len(asked)

    async def _answer(self, call: Call, day: int, pieces: int) -> StoredResponse | None:
        try:
            first = await self._piece(call, day, pieces, 0) if pieces else None
        except IntegrityError:
            await self._learn()  # it may be sealed with a key that was added meanwhile
            try:
                first = await self._piece(call, day, pieces, 0)
            except IntegrityError:
                return None  # it was changed, and so is none
        if first is None:
            return None
        return joined(first, pieces, lambda number: self._piece(call, day, pieces, number))

    async def _piece(self, call: Call, day: int, pieces: int, number: int) -> bytes | None:
        async def look(connection: Connection) -> bytes | None:
            sealed: bytes | None = await connection.fetchval(_PIECE, *call, number)
            return sealed

        sealed = await self._connections.run(look, writes=False)
        return None if sealed is None else call.open(self._ring(day), pieces, number, sealed)

    def _ring(self, day: int) -> Keyring:
        return keyring_of(self._keys.results, day)
