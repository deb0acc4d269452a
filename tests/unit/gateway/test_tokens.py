from __future__ import annotations

import asyncio
import base64
import hmac
import math
import re
import sqlite3
import string
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

import oo.testing
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Rate, Route
from oo.gateway.tokens import fingerprint, has_form, is_token, new_token
from oo.gateway.vault import Vault
from tests.support.processes import Home, Serving, get
from tests.support.vaults import claimed, spend, writes
from tests.support.waiting import PATIENCE


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    async with oo.testing.temporary_vault() as vault:
        await vault.put_secret("a", "value of a")
        yield vault


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("tokens")).made(a="value of a")


@pytest.fixture(scope="module")
def one_worker(home: Home) -> Iterator[Serving]:
    with home.serve() as served:
        yield served


@pytest.fixture(scope="module")
def two_workers(home: Home) -> Iterator[Serving]:
    with home.serve("--workers", "2") as served:
        yield served


async def why(vault: Vault, token: str) -> str | None:
    found = await spend(vault, token, "secret")
    return found.why if isinstance(found, Denial) else None


def test_a_token_is_a_prefix_32_random_bytes_and_a_checksum() -> None:
    tokens = [new_token() for _ in range(100)]
    assert all(re.fullmatch(r"oo_[A-Za-z0-9_-]{49}", token) for token in tokens)
    assert all(len(base64.urlsafe_b64decode(token[3:46] + "=")) == 32 for token in tokens)
    assert len({token[3:46] for token in tokens}) == 100
    assert all(is_token(token) for token in tokens)


def test_the_checksum_catches_every_typo_of_one_character() -> None:
    token = new_token()
    typos = {
        token[:place] + character + token[place + 1 :]
        for place in range(len(token))
        for character in string.printable + "é\x00"
    } - {token}
    assert len(typos) == len(token) * 101
    assert [typo for typo in typos if is_token(typo)] == []


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("oo_" + "a" * 49, True),
        ("oo_" + "-_" * 24 + "0", True),
        ("oo_" + "a" * 48, False),
        ("oo_" + "a" * 50, False),
        ("OO_" + "a" * 49, False),
        ("oo_" + "a" * 48 + "=", False),
        ("oo_" + "a" * 49 + "\n", False),
        (" oo_" + "a" * 49, False),
        ("", False),
    ],
)
def test_the_form_of_a_token_is_its_prefix_and_length(text: str, has: bool) -> None:
    assert has_form(text) is has
    assert has_form(new_token())


def test_the_checksum_catches_what_was_left_out_doubled_or_swapped() -> None:
    token = new_token()
    places = range(len(token))
    typos = {token[:place] + token[place + 1 :] for place in places}
    typos |= {token[:place] + token[place] + token[place:] for place in places}
    typos |= {token[:n] + token[n + 1] + token[n] + token[n + 2 :] for n in places[:-1]}
    assert [typo for typo in typos - {token} if is_token(typo)] == []


def test_what_is_kept_of_a_token_is_an_hmac_under_a_key() -> None:
    token, key = new_token(), b"k" * 32
    assert fingerprint(key, token) == hmac.new(key, token.encode(), "sha256").digest()
    assert fingerprint(b"l" * 32, token) != fingerprint(key, token)


async def test_a_token_opens_its_own_secret_and_nothing_else(vault: Vault) -> None:
    await vault.put_environment("e", {})
    token, other = await vault.issue("secret", "a"), await vault.issue("env", "e")
    opened = await spend(vault, token, "secret")
    assert isinstance(opened, Grant)
    assert (opened.kind, opened.name) == ("secret", "a")
    assert await why(vault, other) == "wrong kind"
    assert await why(vault, new_token()) == "unknown"


@pytest.mark.parametrize("text", ["", "oo_", "x" * 10_000, "oo_" + "A" * 49, "oo_\ud800", "oo_" + "é" * 49, "\0"])
async def test_what_is_no_token_is_malformed(vault: Vault, text: str) -> None:
    assert await why(vault, text) == "malformed"


async def test_a_token_expires(vault: Vault) -> None:
    tokens = [await vault.issue("secret", "a", ttl=ttl) for ttl in (60, -1.0)]
    assert [await why(vault, token) for token in tokens] == [None, "expired"]


@pytest.mark.parametrize("ttl", [math.nan, math.inf, 1e12])
async def test_a_token_without_an_end_that_can_be_told_is_not_issued(vault: Vault, ttl: float) -> None:
    with pytest.raises(StoreError, match="100 years"):
        await vault.issue("secret", "a", ttl=ttl)
    assert await vault.tokens() == []


async def test_a_token_for_what_is_not_there_is_not_issued(vault: Vault) -> None:
    with pytest.raises(StoreError, match="there is no route 'a'"):
        await vault.issue("route", "a")
    assert await vault.tokens() == []


async def test_uses_are_counted_and_looking_is_none(vault: Vault) -> None:
    token = await vault.issue("secret", "a", uses=2)
    for _ in range(3):
        assert isinstance(await vault.authorize(token, "secret"), Grant)
    assert [each.used for each in await vault.tokens()] == [0]
    assert [await why(vault, token) for _ in range(4)] == [None, None, "used up", "used up"]
    assert [each.used for each in await vault.tokens()] == [2]


@pytest.mark.parametrize(("key", "why"), [("known", None), ("another", "used up"), (None, "used up")])
async def test_a_token_that_is_used_up_may_repeat_a_call_and_writes_nothing(
    vault: Vault, key: str | None, why: str | None
) -> None:
    await vault.put_route(Route("r", "http://x.example"))
    token = await vault.issue("route", "r", uses=1, rate=Rate(100, 60.0))
    await claimed(vault, (token, vault.id_of(token)), "known")
    before = writes(vault)
    outcome = await vault.authorize(token, "route", key=key)
    assert (outcome.why if isinstance(outcome, Denial) else None) == why
    assert (writes(vault) == before) is (why is not None)


async def test_a_call_beyond_its_rate_writes_nothing(vault: Vault) -> None:
    token = await vault.issue("secret", "a", rate=Rate(1, 60.0))
    assert isinstance(await vault.authorize(token, "secret"), Grant)
    before = writes(vault)
    outcome = await vault.authorize(token, "secret")
    assert isinstance(outcome, Denial)
    assert outcome.retry_after is not None
    assert 0 < outcome.retry_after <= 60
    assert writes(vault) == before


async def test_a_rate_is_charged_where_a_token_is_looked_at_and_a_use_is_not(vault: Vault) -> None:
    token = await vault.issue("secret", "a", uses=5, rate=Rate(2, 60.0))
    looks = [await vault.authorize(token, "secret") for _ in range(3)]
    assert [isinstance(each, Grant) for each in looks] == [True, True, False]
    assert isinstance(await vault.consume(token, "secret"), Grant)
    assert [each.used for each in await vault.tokens()] == [1]


def test_uses_outlive_the_process(tmp_path: Path) -> None:
    home = Home(tmp_path).made(a="value")
    token = home.token("secret", "a", uses=2)
    assert [home.run(lambda vault: why(vault, token)) for _ in range(3)] == [None, None, "used up"]


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_one_use_is_one_use_under_a_hundred_parallel_reads(
    home: Home, workers: str, request: pytest.FixtureRequest
) -> None:
    served: Serving = request.getfixturevalue(workers)
    token = home.token("secret", "a", uses=1)
    together = Barrier(100)

    def read(_: int) -> tuple[int, str]:
        together.wait(PATIENCE)
        got = served.get(token)
        return got.status, got.body

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(read, range(100)))
    assert answers.count((200, '{"value": "value of a"}')) == 1
    assert answers.count((401, '{"error": "the token was not accepted: it is used up"}')) == 99


async def test_a_rate_gives_a_burst_and_then_one_use_at_a_time(vault: Vault) -> None:
    token = await vault.issue("secret", "a", rate=Rate(4, 40.0))
    began = time.monotonic()
    assert [await why(vault, token) for _ in range(4)] == [None] * 4
    denied = await spend(vault, token, "secret")
    assert isinstance(denied, Denial)
    assert denied.why == "rate"
    assert denied.retry_after is not None
    assert 10 - (time.monotonic() - began) <= denied.retry_after <= 10
    with closing(sqlite3.connect(vault.path)) as db, db:
        db.execute("UPDATE tokens SET tat = tat - ?", (denied.retry_after,))
    await asyncio.sleep(0)  # one turn of the loop shares what it read
    assert [await why(vault, token) for _ in range(2)] == [None, "rate"]


def test_a_rate_is_a_429_that_says_when_to_come_again(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.secret("a", "value", rate=Rate(2, 60.0))
    answers = [get(gateway.url, token) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "30"
    assert answers[2].data == {"error": "this token is used too often: again in 30 s"}


async def test_a_token_that_is_used_up_says_so_whatever_its_rate(vault: Vault) -> None:
    token = await vault.issue("secret", "a", uses=1, rate=Rate(1, 60.0))
    assert [await why(vault, token) for _ in range(2)] == [None, "used up"]


async def test_a_clock_that_was_set_back_does_not_lock_a_token_out(vault: Vault) -> None:
    token = await vault.issue("secret", "a", rate=Rate(2, 1.0))
    with sqlite3.connect(vault.path) as db:
        db.execute("UPDATE tokens SET tat = ?", (time.time() + 86400,))
    db.close()
    denied = await spend(vault, token, "secret")
    assert isinstance(denied, Denial)
    assert denied.retry_after == pytest.approx(0.5)


async def test_a_revoked_token_stays_revoked(vault: Vault) -> None:
    token = await vault.issue("secret", "a")
    (listed,) = await vault.tokens()
    await vault.revoke(listed.id)
    (first,) = await vault.tokens()
    await vault.revoke(listed.id)
    assert await why(vault, token) == "revoked"
    assert await vault.tokens() == [first]
    with pytest.raises(StoreError, match="there is no token 'none'"):
        await vault.revoke("none")


def test_a_revocation_by_another_process_works_at_once(home: Home, two_workers: Serving) -> None:
    token = home.token("secret", "a", label="soon revoked")
    identity = home.token_id("soon revoked")
    assert {two_workers.get(token).status for _ in range(8)} == {200}
    assert home.oo("token", "revoke", identity).returncode == 0
    assert {two_workers.get(token).status for _ in range(8)} == {401}


async def test_a_removed_things_tokens_do_not_open_a_later_one_of_its_name(vault: Vault) -> None:
    token = await vault.issue("secret", "a")
    await vault.put_secret("b", "value of b")
    other = await vault.issue("secret", "b")
    await vault.remove("secret", "a")
    await vault.put_secret("a", "another value")
    assert await why(vault, token) == "revoked"
    assert await why(vault, other) is None
