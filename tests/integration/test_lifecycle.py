"""The life of a client: closed while calls wait, used from several loops and processes, interrupted, forgotten."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from oo.transports.aiohttp import AiohttpTransport
from oo.transports.requests import RequestsTransport
from tests.support.faults import GOOD, READ, SECRET, SILENCE, answer, head, serving
from tests.support.waiting import PATIENCE, Watched, unhurried
from tests.support.worlds import World

pytestmark = pytest.mark.campaign

TOKEN = "a-token-of-a-life"
URL = "http://localhost:3001"
BUSY = answer(b"{}", status=b"503 Busy")


def closing(world: World, client: Any, when: Any, *calls: Any) -> list[Any]:
    """What the calls end with where the client is closed as soon as `when()`, which blocks, returns."""
    if world.blocking:

        def close() -> None:
            assert when()
            client.client.close()

    else:

        async def close() -> None:
            assert await asyncio.to_thread(when)
            await client.client.close()

    *results, closed = world.together(*calls, close)
    assert closed is None, closed
    return results


class Napping(Watched):
    """An IO in whose every sleep a client is closed, once so many wait for its flight."""

    def closes(self, client: Any, waiting: int) -> None:
        self._closing = (client.client, waiting)

    async def sleep(self, seconds: float) -> None:
        client, waiting = self._closing
        if isinstance(client, oo.Client):
            assert self.until(waiting)
            client.close()
        else:
            assert await asyncio.to_thread(self.until, waiting)
            await client.close()


def over(world: World) -> tuple[Any, Napping]:
    """The world's real transport, over such an IO."""
    transport: Any = RequestsTransport() if world.blocking else AiohttpTransport()
    transport.io = Napping(world.io())
    return transport, transport.io


def get(client: Any, ttl: float | None = None) -> Any:
    return lambda: client.client.get_secret(TOKEN, ttl)


def ends(results: list[Any]) -> set[Any]:
    return {each if isinstance(each, str) else (type(each), each.reason, each.retryable) for each in results}


def test_a_call_that_is_closed_under_its_request_finishes_or_ends_as_closed(world: World) -> None:
    # A thread that reads cannot be called off: it has its answer, or its timeout, as if nothing had happened.
    with serving([READ, 0.3, GOOD] if world.blocking else [READ, SILENCE]) as server:
        client = world.client(server.url, PATIENCE, retries=3, cache=oo.SecretCache())
        results = closing(world, client, lambda: server.until(requests=1), *[get(client, 60)] * 20)
        assert ends(results) == ({SECRET} if world.blocking else {(oo.SecretError, "closed", False)})
        assert len(server.requests) == 1
        assert server.until(left=1)


def test_a_call_that_is_closed_in_its_backoff_sends_nothing_more(world: World) -> None:
    transport, napping = over(world)
    with serving([READ, BUSY]) as server:
        client = world.client(server.url, retries=3, cache=oo.SecretCache(), transport=transport)
        napping.closes(client, waiting=19)
        results = world.together(*[get(client, 60)] * 20)
        assert ends(results) == {(oo.SecretError, "closed", False)}
        assert (server.connections, len(server.requests)) == (1, 1)


def test_a_stream_that_is_closed_under_its_reader_finishes_or_ends_as_closed(world: World) -> None:
    script = [READ, head(b"Content-Length: 6"), b"one", *([0.3, b"two"] if world.blocking else [SILENCE])]
    with serving(script) as server:
        client = world.client(server.url, PATIENCE)

        def read() -> Any:
            with client.client.stream("v1/x", TOKEN) as response:
                return b"".join(response.iter_bytes()).decode()

        async def aread() -> Any:
            async with client.client.stream("v1/x", TOKEN) as response:
                return b"".join([piece async for piece in response.iter_bytes()]).decode()

        results = closing(world, client, lambda: server.until(requests=1), read if world.blocking else aread)
        assert ends(results) == ({"onetwo"} if world.blocking else {(oo.ProxyError, "closed", False)})


async def test_a_stream_read_on_after_its_client_was_closed_ends_as_closed() -> None:
    with serving([READ, head(b"Content-Length: 6"), b"one", SILENCE]) as server:
        client = oo.AsyncClient(server.url, PATIENCE)
        async with client.stream("v1/x", TOKEN) as response:
            pieces = response.iter_bytes()
            assert await pieces.__anext__() == b"one"
            await client.close()
            with pytest.raises(oo.ProxyError) as caught:
                await asyncio.wait_for(pieces.__anext__(), PATIENCE)
        assert (caught.value.reason, caught.value.retryable) == ("closed", False)


@pytest.mark.parametrize("end", ["closed", "deadline"])
def test_the_end_of_one_client_is_not_shared_with_another_over_the_same_store(world: World, end: str) -> None:
    store = oo.SecretCache()
    transport, napping = over(world)
    with serving([READ, BUSY] if end == "closed" else [READ, SILENCE]) as server:
        limit: dict[str, Any] = {"retries": 1} if end == "closed" else {"deadline": 0.3}
        first = world.client(server.url, PATIENCE, cache=store, transport=transport, **limit)
        other = world.client(server.url, PATIENCE, cache=store)
        napping.closes(first, waiting=1)

        def late() -> Any:
            assert server.until(requests=1)
            return other.client.get_secret(TOKEN, 60)

        async def alate() -> Any:
            assert await asyncio.to_thread(server.until, requests=1)
            return await other.client.get_secret(TOKEN, 60)

        ended, answered = world.together(get(first, 60), late if world.blocking else alate)
        assert (ended.reason, answered) == (end, SECRET)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_secret(TOKEN),
        lambda client: client.get_env(TOKEN, 60),
        lambda client: client.proxy("v1/x", TOKEN),
        lambda client: client.send("v1/x", TOKEN),
        lambda client: client.chat_completion(TOKEN, []),
        lambda client: client.chat_completion(TOKEN, [], stream=True),
        lambda client: client.health(),
    ],
)
def test_a_client_that_was_closed_refuses_every_call_and_a_hit_as_well(world: World, call: Any) -> None:
    transport = MockTransport([{"value": "v"}])
    client = world.client(URL, transport=transport)
    assert client.get_secret(TOKEN, 60) == "v"
    client.close()
    client.close()
    for each in (call, lambda client: client.get_secret(TOKEN, 60)):
        with pytest.raises(oo.DoubleOError) as caught:
            each(client)
        assert (caught.value.reason, caught.value.attempts) == ("closed", 0)
    assert len(transport.requests) == 1


def test_clients_in_cycles_are_collected_and_give_their_connections_back(world: World) -> None:
    with serving() as server:

        def used() -> weakref.ref[Any]:
            make = oo.Client if world.blocking else oo.AsyncClient
            client: Any = make(server.url, cache=oo.SecretCache())
            client.itself = client
            assert world.run(lambda: client.get_secret(TOKEN, 60)) == SECRET
            return weakref.ref(client)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gone = [used() for _ in range(3)]
            gc.collect()
            for _ in range(3):
                world.run(lambda: asyncio.sleep(0) if not world.blocking else None)
            gc.collect()
        assert [each() for each in gone] == [None] * 3
        # aiohttp tells of each session that was not closed.
        assert {each.category for each in caught} == (set() if world.blocking else {ResourceWarning})
        assert server.until(left=3)


def run(program: str, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program, url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=Path(oo.__file__).parents[1],
    )


WALL = """
import time

wall, jumped = time.time, []
time.time = lambda: wall() + sum(jumped)  # before anything of oo can take it

import asyncio, sys
import oo
from oo.testing import MockTransport

kind, jump = sys.argv[1].split()

def jumping(_request):
    jumped.append(float(jump))
    return 503 if len(jumped) == 1 else {"value": str(len(jumped))}

async def main():
    client = getattr(oo, kind)(
        retries=1, backoff_factor=0.001, deadline=30, cache=oo.SecretCache(), transport=MockTransport(jumping)
    )

    async def get(ttl):
        value = client.get_secret("a-token", ttl)
        return value if kind == "Client" else await value

    found = [await get(60)]
    jumped.append(float(jump))
    found.append(await get(60))
    time.sleep(0.02)
    print(*found, await get(0.01))

asyncio.run(main())
"""


@pytest.mark.parametrize("jump", [1e9, -1e9])
def test_the_wall_clock_may_jump(world: World, jump: float) -> None:
    done = run(WALL, f"{'Client' if world.blocking else 'AsyncClient'} {jump}")
    assert (done.stdout, done.stderr) == ("2 2 4\n", "")


FORK = """
import asyncio, json, os, signal, sys, threading
import oo
from oo.middleware import shared_cache
from oo.middleware.retry import RetryBudget

url = sys.argv[1]
budgets = []
made = RetryBudget.__init__
RetryBudget.__init__ = lambda self: (made(self), budgets.append(self))[0]

def call(client, token):
    if isinstance(client, oo.Client):
        return client.get_secret(token, 60)
    return asyncio.run(client.get_secret(token, 60))

clients = [oo.Client(url, 5, retries=1, backoff_factor=0.01), oo.AsyncClient(url, 5, retries=1, backoff_factor=0.01)]
before = [call(client, f"before-{n}") for n, client in enumerate(clients)]

held, go = threading.Event(), threading.Event()

def hold():
    with shared_cache()._lock, budgets[0]._lock, budgets[1]._lock:
        held.set()
        go.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    found = [call(client, f"{where}-child-{n}") for where in ("new", "busy") for n, client in enumerate(clients)]
    os.write(writer, json.dumps(found).encode())
    os._exit(0)
go.set()
os.close(writer)
after = [call(client, f"parent-{n}") for n, client in enumerate(clients)]
with open(reader) as pipe:
    child = json.load(pipe)
_, status = os.waitpid(pid, 0)
print(json.dumps([before, after, child, status]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_while_every_lock_is_held_calls_on_sockets_of_its_own() -> None:
    busy: set[bytes] = set()

    def echo(request: bytes) -> bytes:
        token = request.split(b"Bearer ")[1].split(b"\r\n")[0]
        if token.startswith(b"busy") and token not in busy:
            busy.add(token)
            return BUSY
        return answer(b'{"value": "%b"}' % token)

    with serving(reply=echo) as server:
        # Python 3.12 warns of any fork of a process with threads.
        ran = run(FORK, server.url, "-W", "error", "-W", "ignore:This process:DeprecationWarning")
        assert (ran.returncode, ran.stderr) == (0, "")
        before, after, child, status = json.loads(ran.stdout)
        assert before == ["before-0", "before-1"]
        assert after == ["parent-0", "parent-1"]
        assert child == ["new-child-0", "new-child-1", "busy-child-0", "busy-child-1"]
        assert status == 0
        # One for the blocking client in each process, and one for each loop of the other.
        assert server.connections == 2 + 2 + 2


INTERRUPTED = {
    "blocking": """
import sys, oo
with oo.Client(sys.argv[1], retries=3, backoff_factor=30) as client:
    client.get_secret("a-token", 60)
""",
    "asyncio": """
import asyncio, sys, oo
async def main():
    async with oo.AsyncClient(sys.argv[1], retries=3, backoff_factor=30) as client:
        await asyncio.gather(*(client.get_secret("a-token", 60) for _ in range(3)))
asyncio.run(main())
""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("where", ["in a backoff", "under a request"])
@pytest.mark.parametrize("name", INTERRUPTED)
def test_ctrl_c_ends_a_call_at_once(name: str, where: str) -> None:
    with serving([READ, BUSY, READ, SILENCE] if where == "in a backoff" else [READ, SILENCE]) as server:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", INTERRUPTED[name], server.url],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(oo.__file__).parents[1],
        )
        try:
            while not server.requests:
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=PATIENCE)[1]
        finally:
            process.kill()
        assert process.returncode == -signal.SIGINT
        assert told.rstrip().endswith("KeyboardInterrupt")
        assert "Warning" not in told
        assert len(server.requests) == 1


FORGOTTEN = {
    "blocking": """
client = oo.Client(url, cache=oo.SecretCache())
client.get_secret("a-token", 60)
""",
    "functions": """
oo.get_secret("a-token", url, 60)
""",
    "asyncio": """
async def main():
    global client
    client = oo.AsyncClient(url)
    await asyncio.gather(*(client.get_secret(f"a-token-{n}", 60) for n in range(3)))
asyncio.run(main())
""",
    "a thread that still waits": """
client = oo.Client(url)
threading.Thread(target=client.proxy, args=("v1/silence", "a-token"), daemon=True).start()
while not client.get_secret("a-token"): pass
""",
    "a task that still waits": """
async def main():
    global client
    client = oo.AsyncClient(url)
    asyncio.ensure_future(client.proxy("v1/silence", "a-token"))
    await client.get_secret("a-token")
asyncio.run(main())
""",
    "a stream": """
client = oo.Client(url)
stream = client.stream("v1/stream", "a-token").__enter__()
pieces = stream.iter_bytes()
assert next(pieces) == b"one"
""",
    "chunks": """
client = oo.Client(url)
chunks = client.chat_completion("a-token", [], stream=True)
assert next(chunks) == {"n": 1}
""",
    "an async stream": """
async def main():
    global client, stream, pieces
    client = oo.AsyncClient(url)
    stream = client.stream("v1/stream", "a-token")
    await stream.__aenter__()
    pieces = stream.iter_bytes()
    assert await pieces.__anext__() == b"one"
asyncio.run(main())
""",
}


def endless(request: bytes) -> bytes:
    if b"/v1/stream" in request:
        return head(b"Content-Length: 99") + b"one"
    if b"/v1/chat" in request:
        return head(b"Content-Length: 99") + b'data: {"n": 1}\n\n'
    if b"/v1/silence" in request:
        return b"HTTP/1.1 200 OK\r\n"
    return GOOD


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_program_that_forgets_its_client_ends_in_peace(name: str) -> None:
    with serving(reply=endless) as server:
        program = f"import asyncio, sys, threading, oo\nurl = sys.argv[1]\n{FORGOTTEN[name]}\nprint('done')\n"
        ran = run(program, server.url, "-X", "dev")
        assert (ran.returncode, ran.stdout) == (0, "done\n")
        told = [line for line in unhurried(ran.stderr.splitlines()) if line]
        # A stream is closed in order where its iterator happens to go first.
        assert len(told) <= ("stream" in name or name == "chunks")
        assert all("ResourceWarning" in line and "was dropped unclosed" in line for line in told)
        assert "a-token" not in ran.stderr
