"""SDKs that are too large, or too old, for a developer's environment, unchanged: in one beside it."""

from __future__ import annotations

import json

import pytest

from tests.integration.sdk.conftest import Shop
from tests.support.apis import TEXT, WORDS
from tests.support.fresh import Beside

ANTHROPIC = """
import asyncio, json, sys
import anthropic

base, token = sys.argv[1:]
asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}]}
assert anthropic.__version__.startswith("0.")

with anthropic.Anthropic(base_url=base, api_key=token) as client:
    whole = client.messages.create(**asked).content[0].text
    with client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)

async def main():
    async with anthropic.AsyncAnthropic(base_url=base, auth_token=token) as client:
        return (await client.messages.create(**asked)).content[0].text

print(json.dumps([whole, pieces, asyncio.run(main())]))
"""

LITELLM = """
import asyncio, json, sys
import litellm

base, token = sys.argv[1:]
asked = {"model": "openai/m", "messages": [{"role": "user", "content": "Hello?"}]}
asked.update(api_base=base + "/v1", api_key=token)

whole = litellm.completion(**asked).choices[0].message.content
pieces = [chunk.choices[0].delta.content for chunk in litellm.completion(stream=True, **asked)]
pieces = [piece for piece in pieces if piece]

async def main():
    return (await litellm.acompletion(**asked)).choices[0].message.content

print(json.dumps([whole, pieces, asyncio.run(main())]))
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Beside:
    # The one is 200 MB; of the other, the newest of the 0 series.
    return Beside(tmp_path_factory.mktemp("sdk"), ["litellm>=1.83", "anthropic<1"])


@pytest.mark.parametrize("program", [ANTHROPIC, LITELLM], ids=["anthropic 0", "litellm"])
def test_an_sdk_of_another_environment(shop: Shop, beside: Beside, program: str) -> None:
    # litellm would fetch its list of prices.
    done = beside.run("-c", program, shop.base, shop.token, env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [TEXT, WORDS, TEXT]
    shop.assert_clean(3)
