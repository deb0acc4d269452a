"""Connections, in both worlds: kept where they may be, closed where they must be."""

from __future__ import annotations

import gzip

import pytest

from tests.support.faults import BODY, CLOSE, GOOD, READ, RESET, SECRET, SILENCE, answer, head, serving
from tests.support.probing import CHUNK, END, LONG, PROBE, TOKEN, chunked, encoded, failure, rest
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


@pytest.mark.parametrize(
    "first",
    [GOOD, chunked(CHUNK + END), encoded(b"gzip", gzip.compress(BODY)), answer(LONG * 99), head(status=b"204 None")],
    ids=["length", "chunks", "gzip", "long", "none"],
)
def test_two_calls_use_one_connection(world: World, first: bytes) -> None:
    with serving([READ, first]) as server:
        client = world.client(server.url)
        assert client.health() is True
        assert client.get_secret(TOKEN) == SECRET
        assert (server.connections, len(server.requests)) == (1, 2)


def test_the_answer_to_a_head_request_has_a_length_and_no_body(world: World) -> None:
    with serving([READ, head(b"Content-Length: 99999999999")]) as server:
        client = world.client(server.url, timeout=PATIENCE)
        assert client.proxy("v1/file", TOKEN, "HEAD") is None
        assert client.get_secret(TOKEN) == SECRET
        assert server.connections == 1


def test_a_kept_connection_that_was_closed_while_idle_is_made_anew(world: World) -> None:
    with serving([READ, GOOD, CLOSE]) as server:
        client = world.client(server.url)
        assert client.get_secret(TOKEN) == SECRET
        assert server.until(left=1)
        rest(world)
        assert client.get_secret(TOKEN) == SECRET
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_what_is_not_idempotent_is_not_sent_twice_when_a_kept_connection_closes_under_a_request(
    world: World, method: str, end: str
) -> None:
    with serving([READ, GOOD, READ, end]) as server:
        client = world.client(server.url)
        client.get_secret(TOKEN)
        error = failure(lambda client: client.proxy("v1/x", TOKEN, method), client)
        assert (error.reason, error.retryable, error.status) == ("connection", True, None)
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_request_that_is_sent_again_is_one_attempt_and_noted(world: World, end: str) -> None:
    with serving([READ, GOOD, READ, end]) as server:
        client = world.client(server.url)
        client.get_secret(TOKEN)
        response = client.send("v1/x", TOKEN, "GET")
        assert [what for what, _ in response.timeline] == ["attempt", "resent", 200]
        assert [seconds for _, seconds in response.timeline] == sorted(seconds for _, seconds in response.timeline)
        assert (response.context.attempts, server.connections, len(server.requests)) == (1, 2, 3)


@pytest.mark.parametrize("wait", [0.0, 0.05], ids=["at once", "late"])
def test_bytes_after_an_answer_never_become_the_next_one(world: World, wait: float) -> None:
    evil = answer(b'{"value": "evil"}')
    with serving([READ, GOOD + evil if not wait else GOOD, wait, evil if wait else b""]) as server:
        client = world.client(server.url)
        client.get_secret(TOKEN)
        rest(world, 10 * wait)
        assert client.get_secret(TOKEN) == SECRET


def test_a_retry_is_one_request_more(world: World) -> None:
    with serving([READ, RESET], [READ, GOOD[:25], CLOSE]) as server:
        client = world.client(server.url, retries=2, backoff_factor=0.001)
        assert client.get_secret(TOKEN) == SECRET
        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize(
    "start", [encoded(b"br", BODY)[:-1], answer(b"x" * (2 << 20))[:-1], head(b"Content-Length: x")]
)
def test_a_failed_exchange_closes_its_connection(world: World, start: bytes) -> None:
    with serving([READ, start, SILENCE]) as server:
        assert failure(PROBE["secret"][1], world.client(server.url)).reason in ("protocol", "size")
        rest(world)
        assert server.until(left=1)


def test_a_request_that_is_sent_again_takes_no_other_kept_connection(world: World) -> None:
    stale = [READ, 0.2, GOOD, READ, CLOSE]
    with serving(stale, stale) as server:
        client = world.client(server.url)
        assert world.together(*[lambda: client.client.get_secret(TOKEN)] * 2) == [SECRET] * 2
        assert client.get_secret(TOKEN) == SECRET
        assert (server.connections, len(server.requests)) == (3, 4)
