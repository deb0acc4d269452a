"""Other clients at the same calls, each in an environment where it is installed."""

import asyncio
import json

from benchmarks.timing import rate_of_tasks, timed

TOKEN = "oo_benchmark-token-that-opens-nothing"
HEADERS = {"Authorization": "Bearer " + TOKEN}


class Kept:
    """What one measure makes and the next uses again."""

    def __init__(self, url):
        self.url = url
        self.kept = {}

    def once(self, name, make):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def run(self, coroutine, loop="asyncio"):
        """Run a coroutine on the loop of that name."""
        return self.once(("loop", loop), lambda: new_loop(loop)).run_until_complete(coroutine)


def new_loop(name):
    if name == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class Clients(Kept):
    def uncached_session(self, count):
        import requests

        session = self.once("session", requests.Session)
        return timed(count, lambda: session.get(self.url + "/api/secret", headers=HEADERS).json()["value"])

    def uncached_urllib3(self, count):
        import urllib3

        pool = self.once("urllib3", urllib3.PoolManager)
        return timed(
            count, lambda: json.loads(pool.request("GET", self.url + "/api/secret", headers=HEADERS).data)["value"]
        )

    def tasks_aiohttp(self, count, tasks, loop="asyncio"):
        import aiohttp

        async def run():
            session = self.once(
                ("aiohttp", loop), lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
            )

            async def call():
                async with session.get(self.url + "/api/secret", headers=HEADERS) as response:
                    return (await response.json())["value"]

            return await rate_of_tasks(count, tasks, call)

        return self.run(run(), loop)

    def tasks_httpx(self, count, tasks):
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        client = self.once("httpx", lambda: httpx.AsyncClient(limits=limits, timeout=60))

        async def call():
            return (await client.get(self.url + "/api/secret", headers=HEADERS)).json()["value"]

        return self.run(rate_of_tasks(count, tasks, call))

    def tasks_niquests(self, count, tasks):
        import niquests

        session = self.once(("niquests", tasks), lambda: niquests.AsyncSession(pool_maxsize=tasks))

        async def call():
            return (await session.get(self.url + "/api/secret", headers=HEADERS)).json()["value"]

        return self.run(rate_of_tasks(count, tasks, call))

    def tasks_azure(self, count, tasks):
        """azure-core's pipeline with the policies that its own clients begin with, over its transport of aiohttp."""
        from azure.core.pipeline import AsyncPipeline, policies
        from azure.core.pipeline.transport import AioHttpTransport, HttpRequest

        def make():
            import aiohttp

            connections = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
            steps = [
                policies.RequestIdPolicy(),
                policies.HeadersPolicy(HEADERS),
                policies.UserAgentPolicy(),
                policies.AsyncRetryPolicy(),
                policies.ContentDecodePolicy(),
            ]
            return AsyncPipeline(AioHttpTransport(session=connections, session_owner=False), steps)

        async def run():
            pipeline = self.once("azure", make)

            async def call():
                answer = await pipeline.run(HttpRequest("GET", self.url + "/api/secret"))
                return policies.ContentDecodePolicy.deserialize_from_http_generics(answer.http_response)["value"]

            return await rate_of_tasks(count, tasks, call)

        return self.run(run())

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
        return timed(count, lambda: pipeline.run(request))
