"""What every test of a fault asks, and what every error of a fault must be."""

from __future__ import annotations

import asyncio
import gzip
import pickle
import random
import time
import traceback
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import oo
from tests.support.faults import BODY, SECRET, answer, head
from tests.support.waiting import PATIENCE, on_time
from tests.support.worlds import World

TOKEN = "oo_token_of_the_faults"
WITHIN = 0.1  # seconds

PROBE: dict[str, tuple[type[oo.DoubleOError], Callable[[Any], Any]]] = {
    "secret": (oo.SecretError, lambda client: client.get_secret(TOKEN)),
    "env": (oo.EnvError, lambda client: client.get_env(TOKEN)),
    "proxy": (oo.ProxyError, lambda client: client.proxy("v1/chat", TOKEN, payload={"a": 1})),
    "health": (oo.ProxyError, lambda client: client.health()),
}

CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"
LONG = b'{"value": "%b%b"}' % (SECRET.encode(), random.Random(55).randbytes(2000).hex().encode())
ZIPPED = gzip.compress(LONG)
LENGTH = b"Content-Length: %d" % len(BODY)


def chunked(body: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked") + body


def encoded(coding: bytes, body: bytes) -> bytes:
    return answer(body, b"Content-Encoding: " + coding)


def bare_deflate(data: bytes) -> bytes:
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return press.compress(data) + press.flush()


def assert_ours(error: BaseException, *secrets: str) -> None:
    """Neither the error nor anything it carries is foreign, or tells what it must not."""
    chain: list[BaseException | None] = [error]
    for each in chain:
        if each is not None:
            assert type(each).__module__ == "oo.exceptions", repr(each)
            shown = f"{each!s} {each!r} {each.args!r} {vars(each)!r}"
            assert not [secret for secret in secrets if secret in shown]
            chain += [each.__cause__, each.__context__]
    told = "".join(traceback.format_exception(error)).encode() + pickle.dumps(error)
    for secret in secrets:
        assert secret.encode() not in told


def rest(world: World, seconds: float = 0.01) -> None:
    """Let time pass; an event loop sees only then what came meanwhile."""
    if world.blocking:
        time.sleep(seconds)
    else:
        world.run(lambda: asyncio.sleep(seconds))


def failure(call: Callable[[Any], Any], client: Any) -> oo.DoubleOError:
    with pytest.raises(oo.DoubleOError) as caught:
        call(client)
    assert_ours(caught.value, TOKEN, SECRET)
    return caught.value


def assert_bounded(world: World, url: str, limit: str, call: Callable[[Any], Any]) -> None:
    """A call of a server that would take much longer ends at its limit, and for that reason."""
    seconds = {"timeout": WITHIN} if limit == "timeout" else {"timeout": PATIENCE, "deadline": WITHIN}
    client = world.client(url, **seconds)

    def bounded() -> None:
        error = failure(call, client)
        assert (error.reason, error.retryable, error.status) == (limit, limit == "timeout", None)

    on_time(bounded, WITHIN)
