"""Tokens that are fetched: once however many calls wait for one, anew before they end, and where they are refused."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from ..._core.errors import overdue
from ..._core.validation import LONGEST
from ..._http.request import Request
from ..._http.response import JSON, Response, parse_json
from ...exceptions import DoubleOError
from ...middleware.secret_cache import Flight, SecretCache
from ..context import GatewayContext
from .base import CredentialTools

LIFE = 300.0
"""Seconds that a token is taken to live where its server does not say."""
_RENEWED = 0.8  # of its life
_PATIENCE = 10.0  # seconds: a token that was fetched because of a 401 is not thrown away sooner by another
_TOKEN = re.compile("[!-~]+")
_LARGEST = 1 << 18  # bytes of an answer


@dataclass(frozen=True, repr=False)
class FetchedToken:
    """A token and its life in seconds."""

    value: str
    life: float


class TokenSource:
    """The tokens of one credential, each by a key of what it was fetched with. They are kept in memory alone.

    A token is fetched anew once 80 % of its life are over. Where that fails because there is no answer, or a 5xx, the
    old one serves to the end of its life. Time is that of the calls' `io`.
    """

    def __init__(self) -> None:
        self._now = 0.0  # when a token was last asked for: a life is reckoned from before its fetch
        self._store = SecretCache(64, timer=lambda: self._now)
        self._refused: dict[Hashable, float] = {}  # when a token of that key was last thrown away

    async def get(
        self, key: Hashable, fetch: Callable[[], Awaitable[FetchedToken]], request: Request, tools: CredentialTools
    ) -> str:
        """The token of a key, from the store or from `fetch`; DoubleOError past the request's deadline. A fetch goes on
        where its caller leaves: others wait for it, and it may have used up what it was made with."""
        place, io = ("token", key), tools.io
        while True:
            self._now = io.now()
            flight = Flight(io.scope(), place, io.event())
            found = self._store.join(flight, float("inf"))
            if found is flight:
                return (await tools.complete(self._lead(flight, fetch))).value
            if isinstance(found, FetchedToken):
                return found.value
            if isinstance(request.context, GatewayContext):
                request.context.joined += 1
            left = None if request.deadline is None else request.deadline - io.now()
            if not await found.event.wait(left):
                raise overdue(request)
            if isinstance(found.outcome, FetchedToken):
                return found.outcome.value
            if isinstance(found.outcome, DoubleOError) and found.outcome.reason not in ("deadline", "closed"):
                raise copy.copy(found.outcome)  # shared, one object would grow one traceback
            # Whoever fetched was stopped, or had no time left: the first to come by fetches.

    def keep(self, key: Hashable, token: FetchedToken) -> None:
        """Have a token serve another key as well."""
        self._store.set(("token", key), token, token.life * _RENEWED)

    def refused(self, key: Hashable, token: str, now: float) -> bool:
        """Forget the token of a key because an upstream refused it, at `now` of the calls' `io`; whether another may
        be had. An upstream that refuses every token has a new one fetched every 10 s at most."""
        found = self._store.stale(("token", key))
        if found is None or found.value != token:
            return True  # another caller had it forgotten
        if now - self._refused.get(key, -_PATIENCE) < _PATIENCE:
            return False
        if len(self._refused) >= self._store.maxsize:
            self._refused.clear()
        self._refused[key] = now
        self._store.invalidate(("token", key))
        return True

    async def _lead(self, flight: Flight, fetch: Callable[[], Awaitable[FetchedToken]]) -> FetchedToken:
        try:
            token = await fetch()
        except Exception as error:
            old = self._store.stale(flight.key) if isinstance(error, DoubleOError) and error.retryable else None
            self._store.complete(flight, error if old is None else old)
            if old is None:
                raise
            return old  # type: ignore[no-any-return]  # the store's values are Any
        except BaseException:  # cancelled: a caller that waits fetches instead
            self._store.complete(flight, None)
            raise
        fresh = token.life * _RENEWED
        self._store.complete(flight, token, fresh, token.life - fresh)
        return token


async def ask(request: Request, tools: CredentialTools) -> Response:
    """Send a request to a server of tokens; the answer, whatever its status, read whole."""
    response = await tools.send(request)
    return await response.buffered()


def token_of(response: Response, what: str, field: str = "access_token") -> tuple[str, dict[str, JSON]]:
    """The token of an answer, and the answer's object. DoubleOError where there is none; it quotes nothing of it."""
    said = answer_of(response)
    token = said.get(field)
    if not 200 <= response.status < 300:
        words = f" and {said['error']}" if said.get("error") in _ERRORS else ""
        raise DoubleOError(
            f"{what} answered with status {response.status}{words}",
            reason="status",
            retryable=response.status >= 500 or response.status == 429,
        )
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise DoubleOError(f"{what} answered without a token that can be sent", reason="status")
    return token, said


# RFC 6749, 5.2. A tuple, since what stands there may be any JSON.
_ERRORS = tuple(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope".split()
)


def answer_of(response: Response) -> dict[str, JSON]:
    """The object that an answer holds; an empty one where it holds another thing."""
    try:
        said = parse_json(response.body)
    except DoubleOError:
        return {}
    return said if isinstance(said, dict) else {}


def life_of(seconds: JSON) -> float:
    """A life as `expires_in` has it (RFC 6749, 5.1); some servers write it as a text."""
    try:
        life = float(seconds)
    except (TypeError, ValueError, OverflowError):
        return LIFE
    return LIFE if math.isnan(life) else min(max(life, 0.0), float(LONGEST))


def token_request(request: Request, method: str, url: str) -> Request:
    """A request to a server of tokens, in the time that the call has left."""
    return Request(
        method,
        url,
        base_url=url.partition("?")[0],
        timeout=min(request.timeout, 30.0),
        deadline=request.deadline,
        max_body_bytes=_LARGEST,
    )
