"""SDKs that nobody here wrote, unchanged: their base URL is a gateway's, and their key a token."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import boto3
import github
import openai
import pytest
import stripe
from botocore.config import Config
from google import genai
from google.genai import types

from tests.integration.sdk.conftest import Shop
from tests.support.apis import TEXT, WORDS

MESSAGES: Any = [{"role": "user", "content": "Hello?"}]


def test_openai(shop: Shop) -> None:
    with openai.OpenAI(base_url=f"{shop.base}/v1", api_key=shop.token) as client:
        whole = client.chat.completions.create(model="m", messages=MESSAGES)
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        pieces = [chunk.choices[0].delta.content for chunk in stream]
    assert (whole.choices[0].message.content, pieces) == (TEXT, [*WORDS, None])
    shop.assert_clean(2)


def test_openai_async(shop: Shop) -> None:
    async def main() -> tuple[Any, list[Any]]:
        async with openai.AsyncOpenAI(base_url=f"{shop.base}/v1", api_key=shop.token) as client:
            whole = await client.chat.completions.create(model="m", messages=MESSAGES)
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return whole.choices[0].message.content, [chunk.choices[0].delta.content async for chunk in stream]

    assert asyncio.run(main()) == (TEXT, [*WORDS, None])
    shop.assert_clean(2)


def test_azure_openai(shop: Shop) -> None:
    with openai.AzureOpenAI(azure_endpoint=shop.base, api_key=shop.token, api_version="1") as client:
        whole = client.chat.completions.create(model="m", messages=MESSAGES)
    assert whole.choices[0].message.content == TEXT
    shop.assert_clean(1)


@pytest.mark.parametrize("place", ["api_key", "auth_token"])
def test_anthropic(shop: Shop, place: str) -> None:
    settings: Any = {place: shop.token}
    with anthropic.Anthropic(base_url=shop.base, **settings) as client:
        whole = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            pieces = list(stream.text_stream)
    assert (whole.content[0].text, pieces) == (TEXT, WORDS)
    shop.assert_clean(2)


def test_anthropic_async(shop: Shop) -> None:
    async def main() -> tuple[Any, list[str]]:
        async with anthropic.AsyncAnthropic(base_url=shop.base, api_key=shop.token) as client:
            whole = await client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
            async with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
                return whole.content[0].text, [piece async for piece in stream.text_stream]

    assert asyncio.run(main()) == (TEXT, WORDS)
    shop.assert_clean(2)


def test_google_genai(shop: Shop) -> None:
    options = types.HttpOptions(base_url=shop.base)
    with genai.Client(api_key=shop.token, http_options=options) as client:
        whole = client.models.generate_content(model="gemini", contents="Hello?")
        pieces = [chunk.text for chunk in client.models.generate_content_stream(model="gemini", contents="Hello?")]
    assert (whole.text, pieces) == (TEXT, WORDS)
    shop.assert_clean(2)


# Its own session, of aiohttp's.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_google_genai_async(shop: Shop) -> None:
    async def main() -> tuple[Any, list[Any]]:
        options = types.HttpOptions(base_url=shop.base)
        async with genai.Client(api_key=shop.token, http_options=options).aio as client:
            whole = await client.models.generate_content(model="gemini", contents="Hello?")
            stream = await client.models.generate_content_stream(model="gemini", contents="Hello?")
            return whole.text, [chunk.text async for chunk in stream]

    assert asyncio.run(main()) == (TEXT, WORDS)
    shop.assert_clean(2)


def aws(shop: Shop, service: str) -> Any:
    """A client of AWS whose access key is the token: what it signs with is nobody's to check."""
    return boto3.client(
        service,
        endpoint_url=shop.base,
        region_name="us-east-1",
        aws_access_key_id=shop.token,
        aws_secret_access_key="any",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def test_boto3(shop: Shop) -> None:
    s3 = aws(shop, "s3")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["things"]
    s3.put_object(Bucket="things", Key="a b", Body=b"a body")
    assert b"a body" in s3.get_object(Bucket="things", Key="a b")["Body"].read()
    s3.close()
    tables = aws(shop, "dynamodb")
    assert tables.list_tables()["TableNames"] == ["things"]
    tables.close()
    shop.assert_clean(4)


@pytest.mark.parametrize("auth", [github.Auth.Token, lambda token: github.Auth.Login("somebody", token)])
def test_pygithub(shop: Shop, auth: Any) -> None:
    with github.Github(auth=auth(shop.token), base_url=shop.base, retry=None) as client:
        assert client.get_user().login == "somebody"
    shop.assert_clean(1)


def test_stripe(shop: Shop) -> None:
    client = stripe.StripeClient(shop.token, base_addresses={"api": shop.base})
    assert client.v1.customers.create({"email": "a@b.example"}).email == "a@b.example"
    shop.assert_clean(1)


def test_a_refusal_is_the_sdks_own_error(shop: Shop) -> None:
    shop.allow_nothing()
    with (
        openai.OpenAI(base_url=f"{shop.base}/v1", api_key=shop.token, max_retries=0) as one,
        pytest.raises(openai.PermissionDeniedError, match="does not allow") as caught,
    ):
        one.chat.completions.create(model="m", messages=MESSAGES)
    assert (caught.value.type, caught.value.code) == ("permission_error", "not_allowed")
    with (
        anthropic.Anthropic(base_url=shop.base, api_key="no-token", max_retries=0) as other,
        pytest.raises(anthropic.AuthenticationError, match="not accepted"),
    ):
        other.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    options = types.HttpOptions(base_url=shop.base)
    with (
        genai.Client(api_key=shop.token, http_options=options) as third,
        pytest.raises(genai.errors.ClientError, match="does not allow"),
    ):
        third.models.generate_content(model="gemini", contents="Hello?")
    assert shop.upstream.seen == []
