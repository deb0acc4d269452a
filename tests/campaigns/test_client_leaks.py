"""Nothing is leaked: thousands of generated failures in which a server sends a token or a secret back.

The suite runs a short form. `OO_LEAK_CASES=20000 pytest -n 0 tests/campaigns/test_client_leaks.py` is the long one, and
OO_LEAK_SEED repeats a run: its canaries and its cases are drawn from it.
"""

from __future__ import annotations

import gc
import gzip
import inspect
import json
import logging
import os
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import oo
from oo._core.masking import Mask, StreamMask
from oo._core.pipeline import run_sync
from oo.testing import MockTransport
from tests.support.canaries import (
    CASES,
    FILLING,
    SEED,
    SPELLINGS,
    Canaries,
    Watch,
    awkward,
    foreign,
    shaped,
    told,
    watching,
)
from tests.support.faults import CLOSE, RESET, Script, answer, head, serving
from tests.support.worlds import World

pytestmark = pytest.mark.campaign

STATUSES = (b"200 OK 201 Created 204 Empty 301 Moved 302 Found 400 Bad 401 No 402 Pay 403 Never 404 None 409 Other "
            b"413 Large 422 What 429 Slow 500 Fail 502 Bad 503 Busy 504 Late 599 Odd").split(b" ")  # fmt: skip
STATUSES = [b" ".join(STATUSES[at : at + 2]) for at in range(0, len(STATUSES), 2)]


class Case(NamedTuple):
    """What a failure was, for the message of a test: nothing of it is a canary."""

    call: str
    canary: str
    spelling: str
    place: str
    ending: str


CALLS: dict[str, Callable[[Any, str, Path], Any]] = {
    "get_secret": lambda client, token, _: client.get_secret(token),
    "get_secret, cached": lambda client, token, _: client.get_secret(token, 0.0001),
    "get_env": lambda client, token, _: client.get_env(token),
    "load_env": lambda client, token, _: client.load_env(token),
    "export_env": lambda client, token, path: client.export_env(token, path / ".env"),
    "proxy": lambda client, token, _: client.proxy("v1/x", token, payload={"a": 1}),
    "proxy GET": lambda client, token, _: client.proxy("v1/x?limit=5", token, "GET"),
    "send": lambda client, token, _: client.send("v1/x", token, headers={"X-Own": "1"}),
    "stream": lambda client, token, _: read(client.stream("v1/x", token), lambda stream: stream.iter_bytes()),
    "stream of lines": lambda client, token, _: read(client.stream("v1/x", token), lambda stream: stream.iter_lines()),
    "stream of events": lambda client, token, _: read(client.stream("v1/x", token), lambda each: each.iter_events()),
    "stream, dropped": lambda client, token, _: dropped(client.stream("v1/x", token)),
    "chat": lambda client, token, _: client.chat_completion(token, [{"role": "user", "content": "Hello!"}]),
    "chat in chunks": lambda client, token, _: chunks(client.chat_completion(token, [], stream=True)),
    "embed": lambda client, token, _: client.embed(token, ["a"]),
    "image": lambda client, token, _: client.image(token, "a"),
    "health": lambda client, _token, _: client.health(),
}


async def value_of(made: Any) -> Any:
    return await made if inspect.isawaitable(made) else made


async def read(stream: Any, how: Callable[[Any], Any]) -> None:
    if hasattr(stream, "__aenter__"):
        async with stream:
            async for _ in how(stream):
                pass
    else:
        with stream:
            for _ in how(stream):
                pass


async def dropped(stream: Any) -> None:
    await value_of(stream.__aenter__() if hasattr(stream, "__aenter__") else stream.__enter__())


async def chunks(opened: Any) -> None:
    opened = await value_of(opened)
    await read(opened, lambda stream: stream)


async def quietly(made: Any) -> None:
    # asyncio's debug mode shows what a task has returned, and this one is the test's own.
    await value_of(made)


def _lines(value: bytes) -> bytes:
    return value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


def _name(value: bytes) -> bytes:
    # With a character left out it would not be the value.
    return value if re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value) else b"Other"


def _field(name: bytes) -> Callable[[bytes, bytes], bytes]:
    return lambda echo, status: answer(b'{"error": "x"}', name + b": " + _lines(echo), status=status)


def _json(form: bytes) -> Callable[[bytes, bytes], bytes]:
    return lambda echo, status: answer(form.replace(b"@", echo), b"Content-Type: application/json", status=status)


def _quoted(form: str) -> Callable[[bytes, bytes], bytes]:
    # A string of JSON that holds the spelling: what has been parsed is still in it.
    return lambda echo, status: answer(form.replace("@", json.dumps(echo.decode())[1:-1]).encode(), status=status)


PLACES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "the reason": lambda echo, status: answer(b"{}", status=status[:4] + _lines(echo)),
    "a header": _field(b"X-Echo"),
    "a header's name": lambda echo, status: answer(b"{}", b"X-" + _name(echo) + b": 1", status=status),
    **{
        f"the header {name.decode()}": _field(name)
        for name in (
            b"Location Retry-After X-Request-Id Set-Cookie WWW-Authenticate Content-Type Content-Length Date "
            b"Connection Content-Encoding Transfer-Encoding Content-Range Link ETag Upgrade Keep-Alive Server Trailer"
        ).split()
    },
    "a cookie's name": lambda echo, status: answer(b"{}", b"Set-Cookie: a," + _lines(echo) + b"=1", status=status),
    "an error": _json(b'{"error": "no: @"}'),
    "an error of OpenAI's": _json(b'{"error": {"message": "Incorrect API key: @", "code": "@", "param": ["@"]}}'),
    "a detail": _json(b'{"detail": [{"loc": ["header"], "msg": "@"}], "message": "@ is not right"}'),
    "a key": _json(b'{"error": {"@": {"@": 1}}}'),
    "an error, quoted": _quoted('{"error": "no: @"}'),
    "a nested error, quoted": _quoted('{"error": {"message": "@", "@": ["@", {"a": "@"}]}}'),
    "an error of the token": _json(b'{"error": "bad token @"}'),
    "HTML": lambda echo, status: answer(b"<html><p>@</p></html>".replace(b"@", echo), status=status),
    "text": lambda echo, status: answer(b"x @ @".replace(b"@", echo), status=status),
    "many brackets": _json(b"[" * 600 + b'"@"' + b"]" * 600),
    "text in a long line": lambda echo, status: answer(FILLING.encode()[:58] * 5 + echo, status=status),
    "text at the end of what is kept": lambda echo, status: answer(
        FILLING.encode() * 1023 + b"b" * (64 - len(echo) // 2) + echo + b"b" * 99, status=status
    ),
    "a text of JSON": _json(b'"@"'),
    "a list of JSON": _json(b'["@", ["@"]]'),
    "what is no JSON": _json(b'{"error": "@", NaN'),
    "a wrong value": _json(b'{"value": ["@"], "secrets": ["@"]}'),
    "a wrong variable": _json(b'{"value": null, "secrets": {"@": "a", "B": ["@"]}}'),
    "a name that is none": _json(b'{"value": "\\ud800", "secrets": {"A B @": "@"}}'),
    "a name that steers": _json(b'{"value": 1, "secrets": {"LD_PRELOAD": "@"}}'),
    "a value that no shell reads": _json(b'{"value": 1, "secrets": {"A": "@\\r${"}}'),
    "a value with a NUL": _json(b'{"value": 1, "secrets": {"A": "@\\u0000"}}'),
    "another key": _json(b'{"values": "@"}'),
    "a chunk's extension": lambda echo, status: head(b"Transfer-Encoding: chunked", status=status)
    + b'2;a="' + _lines(echo) + b'"\r\n{}\r\n0\r\n\r\n',
    "a chunk's size": lambda echo, status: head(b"Transfer-Encoding: chunked", status=status) + _lines(echo) + b"\r\n",
    "a trailer": lambda echo, status: head(b"Transfer-Encoding: chunked", status=status)
    + b"2\r\n{}\r\n0\r\nX-Trailer: " + _lines(echo) + b"\r\n\r\n",
    "a broken trailer": lambda echo, status: head(b"Transfer-Encoding: chunked", status=status)
    + b"2\r\n{}\r\n0\r\n" + _lines(echo) + b"\r\n\r\n",
    "an interim answer": lambda echo, status: b"HTTP/1.1 103 " + _lines(echo) + b"\r\nLink: " + _lines(echo)
    + b"\r\n\r\n" + answer(b"{}", status=status),
    "the status line": lambda echo, _: b"HTTP/1.1 " + _lines(echo) + b"\r\n\r\n",
    "the version": lambda echo, _: b"HTTP/" + _lines(echo) + b" 200 OK\r\n\r\n",
    "all there is": lambda echo, _: _lines(echo) + b"\r\n\r\n",
    "a header without a colon": lambda echo, status: head(_lines(echo), status=status) + b"{}",
    "a folded header": lambda echo, status: answer(b"{}", b"X-Fold: a\r\n " + _lines(echo), status=status),
    "gzip": lambda echo, status: answer(
        gzip.compress(b"<html>@</html>".replace(b"@", echo)), b"Content-Encoding: gzip", status=status
    ),
    "what is no gzip": lambda echo, status: answer(echo, b"Content-Encoding: gzip", status=status),
    "an event": lambda echo, status: answer(
        b'data: {"a": 1}\n\ndata: @\n\n'.replace(b"@", echo), b"Content-Type: text/event-stream", status=status
    ),
}  # fmt: skip
"""Where in an answer a value may come back."""

ENDINGS: dict[str, Callable[[random.Random, bytes], Script]] = {
    "whole": lambda _, data: [data],
    "closed": lambda _, data: [data, CLOSE],
    "cut": lambda rng, data: [data[: rng.randrange(len(data))], CLOSE],
    "reset": lambda rng, data: [data[: rng.randrange(len(data))], 0.001, RESET],
    "in two": lambda rng, data: [data[: (at := rng.randrange(len(data)))], 0.001, data[at:]],
}
"""How its connection goes on."""


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data.partition(b"\r\n\r\n")[2])
    except ValueError:
        return False
    return True


class Campaign:
    """A server that echoes what a case says, and what its cases found."""

    def __init__(self, watch: Watch, **canaries: str) -> None:
        self.rng = random.Random(SEED)
        self.values = canaries
        self.canaries = Canaries(**canaries)
        self.watch = watch
        self.script: Script = [b""]
        self.places = list(PLACES)
        self.leaks: set[tuple[Case, str, str]] = set()
        self.failures = 0

    def reply(self, _request: bytes) -> Script:
        return self.script

    def drawn(self, call: str) -> Case:
        """The next case; its answer is what the server gives from now on."""
        canary, spelling = self.rng.choice(list(self.values)), self.rng.choice(list(SPELLINGS))
        place, ending = self.rng.choice(self.places), self.rng.choices(list(ENDINGS), (8, 1, 1, 1, 1))[0]
        echo = SPELLINGS[spelling](self.values[canary])
        if (
            "\\" in echo
            and "JSON" not in spelling
            and "quoted" not in place
            and _is_json(PLACES[place](b"", b"200 OK"))
        ):
            spelling, echo = "JSON", SPELLINGS["JSON"](self.values[canary])  # half of its backslashes would be lost
        self.script = ENDINGS[ending](self.rng, PLACES[place](echo.encode(), self.rng.choice(STATUSES)))
        return Case(call, canary, spelling, place, ending)

    def look(self, case: Case, error: BaseException | None) -> None:
        if error is not None:
            self.failures += 1
            self.search(case, list(told(error)))
        self.search(case, self.watch.take())

    def search(self, case: Case, texts: Sequence[tuple[str, str | bytes]]) -> None:
        together = "\n".join(what if isinstance(what, str) else what.decode("latin-1") for _, what in texts)
        if self.canaries.in_(together):
            self.leaks |= {(case, where, name) for where, what in texts for name in self.canaries.in_(what)}

    def done(self, failures: int) -> None:
        gc.collect()
        self.look(Case("", "", "", "at the end", ""), None)
        shown = "\n".join(sorted(f"{name} in the {where}: {case}" for case, where, name in self.leaks)[:200])
        assert not self.leaks, f"OO_LEAK_SEED={SEED}: {len(self.leaks)} leaks, such as\n{shown}"
        assert self.failures >= failures


TOKENS: dict[str, Callable[[random.Random], str]] = {"shaped": lambda _: shaped(), "awkward": awkward}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with watching(monkeypatch) as watch:
        yield watch


@pytest.fixture
def echo(world: World, watch: Watch) -> World:
    if world.loop is not None:
        world.loop.set_debug(True)
        world.loop.slow_callback_duration = 0.0001
    return world


@pytest.mark.parametrize("kind", TOKENS)
def test_no_failure_tells_a_token_or_a_secret(
    echo: World, kind: str, watch: Watch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(SEED)
    campaign = Campaign(watch, token=TOKENS[kind](rng), secret=foreign(rng), variable=foreign(rng))
    token, secret, variable = campaign.values.values()
    known = {"value": secret, "secrets": {"NAME": variable}}
    before = dict(os.environ)
    count = CASES or 136
    with serving(reply=campaign.reply) as server:
        client = echo.client(server.url, timeout=0.2, logging=True)
        again = echo.client(server.url, timeout=0.2, retries=1, backoff_factor=0.0001, logging=True)
        campaign.script = [answer(json.dumps(known).encode())]
        assert (client.get_secret(token), again.get_env(token)) == (secret, {"NAME": variable})
        watch.take()
        for success in (client.client.get_secret, again.client.get_env):
            made = quietly(success(token))
            run_sync(made) if echo.loop is None else echo.loop.run_until_complete(made)
            campaign.look(Case("a success", "", "", "", ""), None)
        for n in range(count):
            call = list(CALLS)[n % len(CALLS)]
            case, error = campaign.drawn(call), None
            try:
                chosen = campaign.rng.choice((client, client, again)).client
                made = quietly(CALLS[call](chosen, token, tmp_path))
                run_sync(made) if echo.loop is None else echo.loop.run_until_complete(made)
            except oo.DoubleOError as raised:
                error = raised
            campaign.look(case, error)
            for name in os.environ.keys() - before.keys():  # what load_env was given is its caller's
                del os.environ[name]
    shown = capfd.readouterr()
    assert campaign.canaries.in_(shown.out + shown.err) == []
    campaign.done(failures=count // 2)


@pytest.mark.parametrize("kind", [*TOKENS, "foreign"])
def test_every_spelling_is_masked_however_a_stream_is_cut(kind: str) -> None:
    rng = random.Random(SEED)
    for n in range(CASES or 100):
        value = {**TOKENS, "foreign": foreign}[kind](rng)
        name = list(SPELLINGS)[n % len(SPELLINGS)]
        spelled = SPELLINGS[name](value)
        whole = "".join([*rng.choices(["", " a ", "\\n\\\\", "%25&amp;\\u00e9", spelled], k=4), spelled]).encode()
        cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(9)))
        mask = Mask([value])
        stream = StreamMask(mask)
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        streamed = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert Canaries(value=value).in_(mask.data(whole)) == [], (SEED, name)
        assert streamed == mask.data(whole), (SEED, name)


METHODS = ("__init__", "get_secret", "get_env", "load_env", "export_env", "proxy", "send", "chat_completion", "embed",
           "image", "invalidate_cache")  # fmt: skip
ARGUMENTS = [
    (method, name)
    for method in METHODS
    for name, each in inspect.signature(getattr(oo.Client, method)).parameters.items()
    if name not in ("self", "stream") and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
]


def test_a_token_in_the_place_of_another_argument_is_not_told(
    world: World, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    campaign = Campaign(watch, token=shaped())
    token = campaign.values["token"]
    given = {"token": "another", "path": "v1/x", "messages": [], "texts": [], "prompt": "a"}
    settings = {"transport": MockTransport(lambda _request: 500), "logging": True}
    client = world.client("http://localhost:3001", **settings)
    for method, wrong in ARGUMENTS:
        error: Exception | None = None
        try:
            if method == "__init__":
                world.client(**{**settings, wrong: token})
            else:
                names = inspect.signature(getattr(oo.Client, method)).parameters
                getattr(client, method)(**{**{name: given[name] for name in names if name in given}, wrong: token})
        except Exception as raised:
            error = raised
        campaign.look(Case(method, "token", "plain", wrong, ""), error)
    campaign.done(failures=len(ARGUMENTS) // 2)


def test_the_watch_sees_a_leak_of_each_kind(watch: Watch) -> None:
    secret = shaped()
    campaign = Campaign(watch, secret=secret)
    error = oo.SecretError("failed", body={"a": [SPELLINGS["base64 behind 1"](secret)]})
    error.__cause__ = ValueError(SPELLINGS["JSON throughout"](secret))
    campaign.look(Case("", "", "", "an error", ""), error)
    logging.getLogger("urllib3.connectionpool").debug("%s", SPELLINGS["percent-encoded throughout"](secret))
    campaign.look(Case("", "", "", "a log", ""), None)
    warnings.warn(f"half of it: {secret[20:36]}", UserWarning, stacklevel=1)
    campaign.look(Case("", "", "", "a warning", ""), None)
    found = {(case.place, where) for case, where, _ in campaign.leaks}
    assert found >= {
        ("an error", "its body"),
        ("an error", "str of ValueError"),
        ("an error", "traceback"),
        ("an error", "pickle 0"),
        ("a log", "log of urllib3.connectionpool"),
        ("a warning", "warning"),
    }
