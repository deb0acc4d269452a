"""The least that each kind of call can do: a dict and a lock, a bare socket, a bare protocol of asyncio."""

import asyncio
import gc
import random
import socket
import threading
import time
import tracemalloc
from urllib.parse import urlsplit

from benchmarks.clients import TOKEN, Kept
from benchmarks.load import BODY, request
from benchmarks.timing import rate, rate_of_threads, timed, timed_async

MASKED = {
    "plain text": b"The quick brown fox jumps over the lazy dog, and says so. ",
    "escapes of URLs": b"%41",
    "escapes of JSON": rb"\u0041",
    "escapes of HTML": b"&#65;",
    "by turns": b"a%41",
}
KEY = b"sk-0123456789abcdef"
"""What is looked for in them."""
END = b"\r\n0\r\n\r\n"
"""The last chunk, which no body here holds."""


def length(data):
    """How long an answer is that begins so, where its head is whole."""
    head, end, _ = data.partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if end else None


class Blocking:
    """A socket that sends the same request again, whose answer is each time as long as the first."""

    def __init__(self, place, sent):
        self._socket = socket.create_connection(place)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent = sent
        self._length = None

    def ask(self):
        self._socket.sendall(self._sent)
        data = self._socket.recv(65536)
        while self._length is None:
            self._length = length(data)
            data += b"" if self._length else self._socket.recv(65536)
        while len(data) < self._length:
            data += self._socket.recv(65536)
        return data

    def ask_chunked(self):
        """Ask for an answer of chunks."""
        self._socket.sendall(self._sent)
        data = self._socket.recv(1 << 20)
        while not data.endswith(END):
            data = data[-7:] + self._socket.recv(1 << 20)


class Protocol(asyncio.Protocol):
    """The same, as a protocol that asks again from where it is called."""

    def __init__(self, sent):
        self._sent = sent
        self._length = None

    def connection_made(self, transport):
        self._transport = transport

    def ask(self, times):
        self._left, self._data = times, b""
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(self._sent)
        return self._done

    def data_received(self, data):
        self._data += data
        self._length = self._length or length(self._data)
        if len(self._data) == self._length:
            self.next()

    def next(self):
        self._left, self._data = self._left - 1, b""
        if self._left:
            self._transport.write(self._sent)
        else:
            self._done.set_result(None)


class Chunked(Protocol):
    """For an answer of chunks."""

    def data_received(self, data):
        self._data = self._data[-7:] + data
        if self._data.endswith(END):
            self.next()


def held(keys):
    """Reads what is held of a key."""
    kept, lock = dict.fromkeys(keys, ("v", 1e12)), threading.Lock()

    def hit(key):
        with lock:
            value, until = kept[key]
        return value if time.monotonic() < until else None

    return hit


def bytes_of_each(entries, keep):
    """Bytes of memory that so many tokens take, each kept by a call."""
    tokens = [f"oo_token-number-{n:06}" for n in range(entries)]
    gc.collect()
    tracemalloc.start()
    for token in tokens:
        keep(token)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used / entries


def speed(text, look):
    """Megabytes a second of a text that is looked through, in our steps."""
    from oo._core.masking import STEP

    data = (MASKED[text] * STEP)[:STEP]
    took, worked = timed((16 << 20) // STEP, lambda: look(data))
    return STEP / took, worked


class Floors(Kept):
    def place(self):
        return urlsplit(self.url).hostname, urlsplit(self.url).port

    def hit_floor(self, count):
        """A dict and a lock, and when what is in it ends."""
        hit = held([TOKEN])
        return timed(count, lambda: hit(TOKEN))

    def entries_floor(self, count, entries):
        """The same among many, as the worker's `entries` asks for them."""
        hit, keys = self.once(
            ("held", entries), lambda: (held(range(entries)), random.Random(1).sample(range(entries), 100))
        )

        def run():
            for key in keys:
                hit(key)

        return [each / len(keys) for each in timed(max(1, count // len(keys)), run)]

    def entry_bytes_floor(self, entries):
        """Of a token and what is kept of it, in a dict."""
        kept = {}
        return bytes_of_each(entries, lambda token: kept.update({token: (token[::-1], time.monotonic())}))

    def mask_floor(self, text):
        """To look for a key, and for nothing else that may stand for it."""
        return speed(text, lambda data: data.find(KEY))

    def hit_floor_async(self, count):
        hit = held([TOKEN])

        async def awaited():
            return hit(TOKEN)

        return self.run(timed_async(count, awaited))

    def uncached_floor(self, count):
        return timed(count, self.once("socket", lambda: self.socket(request("GET", "/api/secret", TOKEN))).ask)

    def proxied_floor(self, count):
        sent = request("POST", "/api/proxy/v1/chat/completions", TOKEN, BODY)
        return timed(count, self.once("posting", lambda: self.socket(sent)).ask)

    def threads_floor(self, count, threads):
        sent = request("GET", "/api/secret", TOKEN)
        return rate_of_threads(count, threads, lambda: self.socket(sent).ask)

    def answer_floor(self, count, path, token):
        sent = request("POST", path, token, b"{}")
        return timed(count, self.once((path, token), lambda: self.socket(sent)).ask_chunked)

    def socket(self, sent):
        return Blocking(self.place(), sent)

    def tasks_floor(self, count, tasks, loop="asyncio"):
        sent = request("GET", "/api/secret", TOKEN)
        return self.run(self.protocols(count, tasks, loop, lambda: Protocol(sent)), loop)

    def tokens_floor(self, count, tasks, path, token, each):
        """As the worker's `tokens`, of which a stream has `each`."""
        sent = request("POST", f"/api/proxy/{path}", token, b"{}")
        streams, worked = self.run(self.protocols(count, tasks, "streams", lambda: Chunked(sent)))
        return streams * each, worked / each

    async def protocols(self, count, tasks, kind, make):
        running, name = asyncio.get_running_loop(), ("protocols", tasks, kind)
        if name not in self.kept:
            made = [await running.create_connection(make, *self.place()) for _ in range(tasks)]
            self.kept[name] = [protocol for _, protocol in made]
        asking, each = self.kept[name], count // tasks
        await asyncio.gather(*(protocol.ask(1) for protocol in asking))
        return await rate(each * tasks, asyncio.gather(*(protocol.ask(each) for protocol in asking)))

    def layers_floor(self, count, layers):
        """So many coroutine functions, each of which awaits the next, run without a loop."""

        async def last(sent):
            return sent

        def around(inner):
            async def layer(sent):
                return await inner(sent)

            return layer

        whole = last
        for _ in range(layers):
            whole = around(whole)

        def call():
            try:
                whole(None).send(None)
            except StopIteration as ended:
                return ended.value

        return timed(count, call)
