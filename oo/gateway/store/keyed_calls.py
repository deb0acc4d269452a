"""Idempotent calls over both files: whose a call is and that it was made in the vault, its answer in the results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from ..errors import StoreError
from ..models import Denial, StoredResponse
from . import claim_rows
from .answer_pieces import Call, Cut, new_fence, parts_of
from .database import Database
from .rest import Rest
from .results import SMALL, Answer, Results
from .sqlite_rows import SQLiteRecords
from .sqlite_uses import Judged


class KeyedCalls:
    """What the vault does for calls with an idempotency key. A call is known by the keyed hash of its key.

    The order makes a crash harmless at any point: an answer is kept first, and then the call noted as made. A call that
    nobody came to note is made again once its claim has lapsed. One that could not be noted is held (`claims.py`).
    """

    def __init__(self, database: Database, results: Results) -> None:
        self._database = database
        self._results = results
        self._rest = Rest()

    def is_known(self, token_id: str, call: bytes) -> bool:
        """Whether a call is being made or was made, so that it costs no use."""
        return self._database.look(lambda records: claim_rows.is_known(records, token_id, call))

    async def claim(self, judged: Judged, call: bytes, seconds: float) -> bytes | Denial | Literal["taken"]:
        """Claim a call and count a use, both or neither. See Store.claim."""
        fence = new_fence()
        claiming = claim_rows.Claiming(judged, call, fence, seconds)

        def repeated() -> Literal["taken"] | None:
            return "taken" if self.is_known(judged.token.id, call) else None  # a repeat does not wait for a turn

        try:
            return await self._database.ask(claim_rows.claim_all, claiming, repeated) or fence
        except asyncio.CancelledError:
            # It is claimed all the same, and what is asked from here on is done after that.
            self._rest.run(self.release(judged.token.id, call, fence))
            raise

    async def result(
        self, token_id: str, call: bytes, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        """What is known of a call. See Store.result."""
        found = self._database.look(lambda records: claim_rows.look(records, token_id, call, digest))
        if not isinstance(found, bytes):
            return found
        await self._database.on_disk()  # lest a failure of power have the call made again, whose answer was given
        made = Call(token_id, call, found)
        answer = await self._results.find(made)
        if answer is None:  # it may be sealed with a key that was added meanwhile
            await self._database.learn()
            answer = await self._results.find(made)
        return answer or "gone"

    async def renew(self, token_id: str, call: bytes, fence: bytes, seconds: float) -> bool:
        """Extend a claim. See Store.renew."""
        return await self._database.write(lambda records: claim_rows.renew(records, token_id, call, fence, seconds))

    async def complete(
        self, token_id: str, call: bytes, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        """Note that a call was made, and keep its answer. See Store.complete."""
        made, answer = claim_rows.Made(token_id, call, fence, digest), None
        try:
            if response is not None:
                answer = Call(token_id, call, fence), Cut(response, await parts_of(response))
            await self._complete(made, answer)
        except asyncio.CancelledError:
            self._rest.run(self._complete(made, answer))  # what was done of it is not done twice
            raise

    async def _complete(self, made: claim_rows.Made, answer: Answer | None) -> None:
        failure = None
        if answer is not None:
            small = answer[1].size <= SMALL
            if small and await self._database.ask(self._complete_here, (made, answer)):
                await self._results.tend()
                return
            try:
                await self._results.keep(*answer)
            except StoreError as error:
                failure = error
        await self._database.ask(claim_rows.complete_all, made)
        if failure is not None:
            raise failure

    def _complete_here(self, records: SQLiteRecords, asked: Sequence[tuple[claim_rows.Made, Answer]]) -> list[bool]:
        """Keep small answers, and note the calls of those that are kept. They share a commit of either file."""
        are_kept = self._results.keep_here([answer for _, answer in asked])
        claim_rows.complete_all(records, [made for (made, _), is_kept in zip(asked, are_kept, strict=True) if is_kept])
        return are_kept

    async def release(self, token_id: str, call: bytes, fence: bytes) -> None:
        """Free the key of a call. See Store.release."""
        await self._database.write(lambda records: claim_rows.release(records, token_id, call, fence))
