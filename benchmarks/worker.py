"""The measured side, in a process of its own, under either library: reads a line of JSON, runs it, answers with one.

Runs under the peers' interpreter too, so it imports nothing of this package; `import oo` is whichever is installed.
"""

import asyncio
import gc
import json
import sys
import threading
import time

TOKEN = "oo_benchmark-token-that-opens-nothing"
PAYLOAD = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello! " * 20}]}
MASKED = {
    "plain text": b"The quick brown fox jumps over the lazy dog, and says so. ",
    "escapes of URLs": b"%41",
    "escapes of JSON": rb"\u0041",
    "escapes of HTML": b"&#65;",
    "by turns": b"a%41",
}


def timed(count, call):
    """Seconds for one of `count` calls."""
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    for _ in range(count):
        call()
    seconds = time.perf_counter() - began
    gc.enable()
    return seconds / count


async def timed_async(count, call):
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    for _ in range(count):
        await call()
    seconds = time.perf_counter() - began
    gc.enable()
    return seconds / count


class Measures:
    def __init__(self, url):
        self.url = url
        self.loop = asyncio.new_event_loop()
        self.kept = {}

    def once(self, name, make):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def client(self):
        import oo

        return self.once("client", lambda: oo.Client(self.url))

    def async_client(self):
        import oo

        return self.once("async", lambda: oo.AsyncClient(self.url))

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

        return self.loop.run_until_complete(run())

    def uncached(self, count):
        client = self.client()
        return timed(count, lambda: client.get_secret(TOKEN))

    def uncached_session(self, count):
        import requests

        session = self.once("session", requests.Session)
        headers = {"Authorization": "Bearer " + TOKEN}
        return timed(count, lambda: session.get(self.url + "/api/secret", headers=headers).json()["value"])

    def uncached_urllib3(self, count):
        import urllib3

        pool = self.once("urllib3", urllib3.PoolManager)
        headers = {"Authorization": "Bearer " + TOKEN}
        return timed(
            count, lambda: json.loads(pool.request("GET", self.url + "/api/secret", headers=headers).data)["value"]
        )

    def proxied(self, count):
        client = self.client()
        return timed(count, lambda: client.proxy("v1/chat/completions", TOKEN, payload=PAYLOAD))

    def threads(self, count, threads):
        """Requests a second of that many threads on one client."""
        client = self.once(("threads", threads), lambda: self.fresh_client())
        each = count // threads
        go = threading.Barrier(threads + 1)

        def run():
            client.get_secret(TOKEN)
            go.wait()
            for _ in range(each):
                client.get_secret(TOKEN)

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        go.wait()
        began = time.perf_counter()
        for thread in running:
            thread.join()
        return each * threads / (time.perf_counter() - began)

    def fresh_client(self):
        import oo

        return oo.Client(self.url)

    def tasks(self, count, tasks):
        """Requests a second of that many tasks on one client."""
        client = self.async_client()
        return self.loop.run_until_complete(self.run_tasks(count, tasks, lambda: client.get_secret(TOKEN)))

    def tasks_aiohttp(self, count, tasks):
        import aiohttp

        async def run():
            headers = {"Authorization": "Bearer " + TOKEN}
            if "aiohttp" not in self.kept:
                self.kept["aiohttp"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
            session = self.kept["aiohttp"]

            async def call():
                async with session.get(self.url + "/api/secret", headers=headers) as response:
                    return (await response.json())["value"]

            return await self.run_tasks(count, tasks, call)

        return self.loop.run_until_complete(run())

    async def run_tasks(self, count, tasks, call):
        each = count // tasks

        async def run():
            for _ in range(each):
                await call()

        await asyncio.gather(*(call() for _ in range(tasks)))
        began = time.perf_counter()
        await asyncio.gather(*(run() for _ in range(tasks)))
        return each * tasks / (time.perf_counter() - began)

    def over_nothing(self, count):
        """Seconds of a call over a transport that does nothing: its request built, its answer read."""
        client = self.once(("layers", 0), lambda: self.layered(0))
        return timed(count, lambda: client.get_secret(TOKEN))

    def layers(self, count, extra):
        """Seconds of a request's way through the default chain and `extra` middlewares, and of its answer's back."""
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

    def layers_azure(self, count, extra):
        from azure.core.pipeline import Pipeline
        from azure.core.pipeline.policies import HTTPPolicy
        from azure.core.pipeline.transport import HttpRequest, HttpTransport

        class Nowhere(HttpTransport):
            def send(self, request, **kwargs):
                return None

            def open(self):
                pass

            def close(self):
                pass

            def __exit__(self, *args):
                pass

        class Layer(HTTPPolicy):
            def send(self, request):
                return self.next.send(request)

        name = ("azure", extra)
        pipeline = self.once(name, lambda: Pipeline(Nowhere(), policies=[Layer() for _ in range(extra)]))
        request = HttpRequest("GET", self.url)

        def run():
            pipeline.run(request)

        return timed(count, run)

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

        return self.loop.run_until_complete(gather())

    def entries(self, count, entries):
        """Seconds of a hit among that many entries."""
        store, keys = self.once(("entries", entries), lambda: self.filled(entries))

        def run(keys=keys, lookup=store.lookup):
            for key in keys:
                lookup(key, 3600)

        return timed(max(1, count // len(keys)), run) / len(keys)

    def filled(self, entries):
        import random

        import oo

        store = oo.SecretCache(maxsize=entries)
        keys = [("secret", self.url, f"token-{n}") for n in range(entries)]
        for key in keys:
            store.set(key, "value", 3600)
        return store, random.Random(1).sample(keys, 100)

    def entry_bytes(self, entries):
        """Bytes of memory for one cached secret, its key included."""
        import tracemalloc

        client = self.fresh_client()
        client.get_secret(TOKEN, cache_ttl=3600)
        tokens = [f"oo_token-number-{n:06}" for n in range(entries)]
        gc.collect()
        tracemalloc.start()
        for token in tokens:
            client.get_secret(token, cache_ttl=3600)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return used / entries

    def mask_speed(self, text):
        """Megabytes a second of a stream that a mask of one key goes through."""
        from oo._core.masking import STEP, Mask, StreamMask

        size, data = 16 << 20, (MASKED[text] * STEP)[:STEP]
        stream = StreamMask(Mask(["sk-0123456789abcdef"]))
        return size / 1e6 / (timed(size // STEP, lambda: stream.feed(data)) * (size // STEP))

    def stream_growth(self, token, kind, mebibytes):
        """Bytes by which memory rose at most while a stream was read through to its end."""
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # forgets the peak so far (proc(5))
        before = resident("VmRSS")
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

            length = self.loop.run_until_complete(read())
        assert length == mebibytes << 20, length
        return resident("VmHWM") - before


def resident(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def main():
    measures = Measures(sys.argv[1])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(measures, name)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
