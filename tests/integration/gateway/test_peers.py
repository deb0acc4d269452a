"""Clients that nobody here wrote, against a real gateway: double-o 0.2.1 as it was published, and the openai SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, NamedTuple

import openai as sdk
import platformdirs
import pytest

import oo.testing
from oo.gateway.models import SecretRef
from tests.support.upstream import OpenAI
from tests.support.waiting import PATIENCE

VERSION = "0.2.1"
KEY = "sk-the-real-key"
HI: Any = [{"role": "user", "content": "Hi"}]

# Run by 0.2.1's own Python; takes the URL and the tokens as JSON, and prints what it got.
CALLS = """
import asyncio, inspect, json, os, sys
from importlib.metadata import version
import oo

how, url, tokens = json.load(sys.stdin)

async def main():
    async def value(of):
        return await of if inspect.isawaitable(of) else of

    to = {"base_url": url} if how == "functions" else {}
    client = oo if how == "functions" else getattr(oo, how)(base_url=url)
    chat = client.chat if how == "functions" else client.chat_completion
    got = {
        "version": version("double-o"),
        "secret": await value(client.get_secret(tokens["secret"], **to)),
        "cached": await value(client.get_secret(tokens["secret"], cache_ttl=60, **to)),
        "env": await value(client.get_env(tokens["env"], **to)),
        "loaded": await value(client.load_env(tokens["env"], **to)),
        "environ": os.environ["OO_PEER"],
        "proxied": await value(client.proxy("v1/models?limit=5", tokens["route"], method="GET", **to)),
        "chat": await value(chat(tokens["route"], [{"role": "user", "content": "Hi"}], **to)),
        "embedded": await value(client.embed(tokens["route"], ["a", "b"], **to)),
        "health": await value(client.health(**to)),
    }
    for name, call, token in [
        ("refused", client.get_secret, tokens["env"]), ("refused env", client.get_env, tokens["secret"]),
    ]:
        try:
            await value(call(token, **to))
        except oo.DoubleOError as error:
            got[name] = type(error).__name__
    try:
        await value(client.proxy("v1/nothing", tokens["route"], payload={"a": 1}, **to))
    except oo.DoubleOError as error:
        got["nothing"] = type(error).__name__
    if how != "functions":
        await value(client.close())
    print(json.dumps(got))

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def published() -> Path:
    """The Python of an environment that holds double-o 0.2.1 from the package index. It is made once, and stays."""
    home = platformdirs.user_cache_path("double-o-tests")
    place = home / f"double-o-{VERSION}-python-{sys.version_info.major}.{sys.version_info.minor}"
    python = Path("Scripts" if os.name == "nt" else "bin") / "python"
    if not (place / python).exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as making:
            made = Path(making) / "env"
            venv.create(made, symlinks=os.name != "nt")
            command = [sys.executable, "-m", "pip", "--python", str(made / python), "install", "--quiet"]
            done = subprocess.run([*command, f"double-o[async]=={VERSION}"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            # Whole or not at all, also where two test runs make it at once.
            try:
                made.rename(place)
            except OSError:
                assert place.exists()
    return place / python


class Served(NamedTuple):
    """A gateway, a token for each kind of thing, and the API behind it."""

    url: str
    tokens: dict[str, str]
    api: OpenAI

    @property
    def base(self) -> str:
        return f"{self.url}/api/proxy/v1"


@pytest.fixture
def served(gateway: oo.testing.LocalGateway, openai: OpenAI) -> Served:
    gateway.secret("key", KEY)
    tokens = {
        "secret": gateway.secret("password", "pass wörd"),
        "env": gateway.environment("web", {"OO_PEER": "a literal", "PASSWORD": SecretRef("password")}),
        "route": gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"}),
    }
    return Served(gateway.url, tokens, openai)


def assert_only_the_real_key(served: Served, calls: int) -> None:
    assert served.api.keys == [f"Bearer {KEY}"] * calls
    assert not [each for each in served.api.seen if "oo_" in repr(each)]


@pytest.mark.parametrize("how", ["Client", "AsyncClient", "functions"])
def test_the_published_client_works_against_the_gateway(served: Served, published: Path, how: str) -> None:
    done = subprocess.run(
        [published, "-I", "-W", "ignore", "-c", CALLS],
        input=json.dumps([how, served.url, served.tokens]),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    variables = {"OO_PEER": "a literal", "PASSWORD": "pass wörd"}
    assert got.pop("chat")["choices"][0]["message"]["content"] == "Hello to you."
    assert [each["index"] for each in got.pop("embedded")["data"]] == [0, 1]
    assert got == {
        "version": VERSION,
        "secret": "pass wörd",
        "cached": "pass wörd",
        "env": variables,
        "loaded": variables,
        "environ": "a literal",
        "proxied": {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model"}]},
        "health": True,
        "refused": "AuthenticationError",
        "refused env": "AuthenticationError",
        "nothing": "ProxyError",
    }
    paths = ["/v1/models?limit=5", "/v1/chat/completions", "/v1/embeddings", "/v1/nothing"]
    assert [each["path"] for each in served.api.seen] == paths
    assert_only_the_real_key(served, 4)


def test_the_openai_sdk_works_through_the_gateway(served: Served) -> None:
    with sdk.OpenAI(base_url=served.base, api_key=served.tokens["route"], max_retries=0) as client:
        completion = client.chat.completions.create(model="gpt-4o-mini", messages=HI)
        embedded = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        models = client.models.list()
    assert completion.choices[0].message.content == "Hello to you."
    assert completion.usage is not None
    assert completion.usage.total_tokens == 4
    assert [each.embedding for each in embedded.data] == [[0.5, 0.25]] * 2
    assert [each.id for each in models] == ["gpt-4o-mini"]
    paths = ["/v1/chat/completions", "/v1/embeddings", "/v1/models"]
    assert [each["path"] for each in served.api.seen] == paths
    assert_only_the_real_key(served, 3)


async def test_the_openai_sdk_works_through_the_gateway_under_asyncio(served: Served) -> None:
    async with sdk.AsyncOpenAI(base_url=served.base, api_key=served.tokens["route"], max_retries=0) as client:
        completion = await client.chat.completions.create(model="gpt-4o-mini", messages=HI)
        embedded = await client.embeddings.create(model="text-embedding-3-small", input="a")
    assert completion.choices[0].message.content == "Hello to you."
    assert [each.embedding for each in embedded.data] == [[0.5, 0.25]]
    assert [each["path"] for each in served.api.seen] == ["/v1/chat/completions", "/v1/embeddings"]
    assert_only_the_real_key(served, 2)


def test_the_openai_sdk_takes_the_gateways_errors_for_what_they_are(served: Served) -> None:
    token = served.tokens["route"]
    wrong = sdk.OpenAI(base_url=served.base, api_key=token[:-1] + "!", max_retries=0)
    with wrong, pytest.raises(sdk.AuthenticationError) as refused:
        wrong.models.list()
    assert token[:-1] not in str(refused.value)
    with sdk.OpenAI(base_url=served.base, api_key=token, max_retries=1) as client:
        with pytest.raises(sdk.NotFoundError):
            client.models.retrieve("none")
        served.api.statuses += [503]
        assert client.models.list().data[0].id == "gpt-4o-mini"
    assert_only_the_real_key(served, 3)
