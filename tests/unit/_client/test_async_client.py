"""AsyncClient: what is awaited, and what of it differs from Client. The rest is tested in both worlds at once."""

from __future__ import annotations

import asyncio
import inspect

import oo
from oo.testing import MockTransport

TOKEN = "a-token-for-asyncio"
URL = "http://localhost:3001"


def test_each_call_is_awaited_but_for_the_opening_of_a_stream() -> None:
    calls = {name for name, each in vars(oo.Client).items() if inspect.isfunction(each) and not name.startswith("_")}
    awaited = {name for name in calls if inspect.iscoroutinefunction(getattr(oo.AsyncClient, name))}
    assert calls - awaited == {"stream"} & calls


async def test_one_client_makes_many_calls_at_once() -> None:
    transport = MockTransport(lambda request: {"value": request.context.token})
    async with oo.AsyncClient(URL, transport=transport) as client:
        values = await asyncio.gather(*(client.get_secret(f"{TOKEN}-{n}") for n in range(50)))
    assert values == [f"{TOKEN}-{n}" for n in range(50)]
    assert transport.closed


async def test_chunks_are_an_async_iterator_once_awaited() -> None:
    events = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
    transport = MockTransport([oo.testing.Streamed([events])])
    async with oo.AsyncClient(URL, transport=transport) as client:
        chunks = await client.chat_completion(TOKEN, [], stream=True)
        assert [chunk["choices"][0]["delta"]["content"] async for chunk in chunks] == ["Hi"]
