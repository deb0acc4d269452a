"""The measured side, in a process of its own, under either library: reads a line of JSON, runs it, answers with one.

Runs under the peers' interpreters too, so `import oo` is inside functions, and is whichever is installed.
"""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

# Last: `oo` is not this folder's but where an interpreter has no other.
sys.path.append(str(Path(__file__).parent.parent))

from benchmarks.clients import TOKEN, Clients
from benchmarks.floors import KEY, Floors, bytes_of_each, speed
from benchmarks.load import PAYLOAD
from benchmarks.processes import forget_peak, resident
from benchmarks.timing import rate_of_tasks, rate_of_threads, timed, timed_async


class Measures(Clients, Floors):
    def client(self):
        import oo

        return self.once("client", lambda: oo.Client(self.url))

    def async_client(self, loop="asyncio"):
        import oo

        return self.once(("async", loop), lambda: oo.AsyncClient(self.url))

    def cached_sync(self, count):
        client = self.client()
        client.get_secret(TOKEN, cache_ttl=3600)
        get_secret = client.get_secret
        return timed(count, lambda: get_secret(TOKEN, cache_ttl=3600))

    def cached_function(self, count):
        import oo

        oo.get_secret(TOKEN, self.url, 3600)
        return timed(count, lambda: oo.get_secret(TOKEN, self.url, 3600))

    def cached_async(self, count):
        client = self.async_client()

        async def run():
            await client.get_secret(TOKEN, cache_ttl=3600)
            return await timed_async(count, lambda: client.get_secret(TOKEN, cache_ttl=3600))

        return self.run(run())

    def uncached(self, count):
        client = self.client()
        return timed(count, lambda: client.get_secret(TOKEN))

    def proxied(self, count):
        client = self.client()
        return timed(count, lambda: client.proxy("v1/chat/completions", TOKEN, payload=PAYLOAD))

    def threads(self, count, threads):
        """Requests a second of that many threads on one client."""
        client = self.once(("threads", threads), lambda: self.fresh_client())
        return rate_of_threads(count, threads, lambda: lambda: client.get_secret(TOKEN))

    def fresh_client(self):
        import oo

        return oo.Client(self.url)

    def tasks(self, count, tasks, loop="asyncio"):
        """Requests a second of that many tasks on one client."""
        client = self.async_client(loop)
        return self.run(rate_of_tasks(count, tasks, lambda: client.get_secret(TOKEN)), loop)

    def over_nothing(self, count):
        """Microseconds of a call over a transport that does nothing: its request built, its answer read."""
        client = self.once(("layers", 0), lambda: self.layered(0))
        return timed(count, lambda: client.get_secret(TOKEN))

    def layers(self, count, extra):
        """Microseconds through the default chain and `extra` middlewares, and of the answer's way back."""
        import oo
        from oo._client.operations import ClientContext

        pipeline = self.once(("layers", extra), lambda: self.layered(extra))._pipeline
        request = oo.Request("GET", self.url, context=ClientContext("secret", lambda _: "v", TOKEN))

        def run():
            request.context.timeline.clear()
            pipeline.run(request)

        return timed(count, run)

    def layered(self, extra):
        import oo
        from oo._http.response import Response

        class Nowhere:
            async def send(self, request):
                return Response(200, None, b'{"value":"v"}', request=request)

            async def close(self):
                pass

        async def layer(request, call_next):
            return await call_next(request)

        return oo.Client(
            self.url, middleware=[*[layer] * extra, *oo.default_middleware()], transport=Nowhere(), plugins=False
        )

    def one_key(self, callers, kind):
        """How many callers got the value of a key that none had."""
        import oo

        if kind == "threads":
            client, results = oo.Client(self.url), []
            go = threading.Barrier(callers)

            def run():
                go.wait()
                try:
                    results.append(client.get_secret(TOKEN, cache_ttl=3600))
                except oo.DoubleOError:
                    pass  # of 1,000 requests at once some may be refused

            running = [threading.Thread(target=run) for _ in range(callers)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            return len(results)

        async def gather():
            client = oo.AsyncClient(self.url)
            calls = [client.get_secret(TOKEN, cache_ttl=3600) for _ in range(callers)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            await client.close()
            return sum(isinstance(result, str) for result in results)

        return self.run(gather())

    def entries(self, count, entries):
        """Microseconds of a hit among that many entries."""
        store, keys = self.once(("entries", entries), lambda: self.filled(entries))

        def run(keys=keys, lookup=store.lookup):
            for key in keys:
                lookup(key, 3600)

        return [each / len(keys) for each in timed(max(1, count // len(keys)), run)]

    def filled(self, entries):
        import random

        import oo

        store = oo.SecretCache(maxsize=entries)
        keys = [("secret", self.url, f"token-{n}") for n in range(entries)]
        for key in keys:
            store.set(key, "value", 3600)
        return store, random.Random(1).sample(keys, 100)

    def answer(self, count, path, token, kind):
        """Microseconds of a whole answer."""
        if kind == "sync":
            client = self.client()
            return timed(count, lambda: client.send(path, token, payload={}))
        client = self.async_client()
        return self.run(timed_async(count, lambda: client.send(path, token, payload={})))

    def tokens(self, count, tasks, path, token):
        """Events a second that as many tasks read of `count` streams of one client."""
        client, read = self.async_client(), 0

        async def stream():
            nonlocal read
            async with client.stream(path, token, payload={}) as response:
                async for _ in response.iter_events():
                    read += 1

        rate, worked = self.run(rate_of_tasks(count, tasks, stream))
        each = read / (count + tasks)  # with the first of each task
        return rate * each, worked / each

    def entry_bytes(self, entries):
        """Bytes of memory for one cached secret, its key included."""
        client = self.fresh_client()
        client.get_secret(TOKEN, cache_ttl=3600)
        return bytes_of_each(entries, lambda token: client.get_secret(token, cache_ttl=3600))

    def mask_speed(self, text):
        """Megabytes a second of a stream that a mask of one key goes through."""
        from oo._core.masking import Mask, StreamMask

        stream = StreamMask(Mask([KEY.decode()]))
        return speed(text, stream.feed)

    def stream_growth(self, token, kind, mebibytes):
        """Bytes by which memory rose at most while a stream was read through to its end."""
        forget_peak(os.getpid())
        before = resident(os.getpid())
        path, length = f"stream/{mebibytes}", 0
        if kind == "sync":
            with self.client().stream(path, token, payload={}) as response:
                for piece in response.iter_bytes():
                    length += len(piece)
        else:

            async def read():
                length = 0
                async with self.async_client().stream(path, token, payload={}) as response:
                    async for piece in response.iter_bytes():
                        length += len(piece)
                return length

            length = self.run(read())
        assert length == mebibytes << 20, length
        return resident(os.getpid(), "VmHWM") - before


def main():
    measures = Measures(sys.argv[1])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        given = getattr(measures, name)(**arguments)
        print(json.dumps(given if isinstance(given, (tuple, list)) else [given]), flush=True)


if __name__ == "__main__":
    main()
