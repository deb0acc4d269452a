from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.header import HeaderCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools

VALUES = {"key": "key-of-thirty", "user": "dXNlcjpwYXNzd29yZA=="}


def request(*pairs: tuple[str, str]) -> oo.Request:
    return oo.Request("GET", "http://x/y", oo.Headers(pairs))


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("Authorization: Bearer {key}", ("Authorization", "Bearer key-of-thirty")),
        ("X-Key:{key}", ("X-Key", "key-of-thirty")),
        ("X-Version: 2", ("X-Version", "2")),
        ("X-Json: {{'k': {key}}", ("X-Json", "{'k': key-of-thirty}")),
    ],
)
async def test_the_header_goes_with_its_secret(text: str, pair: tuple[str, str], tools: Tools) -> None:
    sent = await HeaderCredential.parse(text).apply(request(("Accept", "x")), VALUES, tools)
    assert sent.headers.pairs() == (("Accept", "x"), pair)


async def test_a_callers_own_goes_away_however_it_is_spelled(tools: Tools) -> None:
    credential = HeaderCredential.parse("X-Key: {key}")
    sent = await credential.apply(request(("x_key", "1"), ("X-KEY", "2"), ("X-Keys", "3")), VALUES, tools)
    assert sent.headers.pairs() == (("X-Keys", "3"), ("X-Key", "key-of-thirty"))


async def test_of_basic_the_parts_are_hidden(tools: Tools) -> None:
    await HeaderCredential.parse("Authorization: Basic {user}").apply(request(), VALUES, tools)
    assert tools.hidden == {"user:password", ":password", "password"}


@pytest.mark.parametrize(
    "name",
    "Host content-length Transfer-Encoding Connection Keep-Alive TE Trailer Upgrade Expect Proxy-Authorization "
    "Accept-Encoding transfer_encoding".split(),
)
def test_a_header_of_the_hop_or_the_frame_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="frames the message or is for one hop alone"):
        HeaderCredential.parse(f"{name}: {{key}}")


@pytest.mark.parametrize(
    "text", ["", "no colon canary", ": canary", "X Y: canary", "X-Ä: canary", "X:", "X: ", "X: canary\n", "X: canärý"]
)
def test_what_can_never_be_a_header_is_refused_and_not_quoted(text: str) -> None:
    text = text.replace("canary\n", "canary\nX-Evil: 1")
    with pytest.raises(StoreError) as caught:
        HeaderCredential.parse(text)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "naïve", "\x7f", "", " a", "a "])
async def test_a_value_that_cannot_be_sent_is_refused_when_it_is_set_and_when_it_is_sent(
    value: str, tools: Tools
) -> None:
    credential = HeaderCredential.parse("X-Key: {key}")
    with pytest.raises(oo.DoubleOError, match="the text it injects as X-Key cannot be a header"):
        credential.check({"key": value})
    with pytest.raises(oo.DoubleOError) as caught:
        await credential.apply(request(), {"key": value}, tools)
    assert caught.value.reason == "argument"
    credential.check(VALUES)


def test_it_shows_its_name_and_secrets() -> None:
    credential = HeaderCredential.parse("X-Key: sk-canary {key}")
    assert credential.shown() == "header X-Key: ...{key}"
    assert "canary" not in repr(credential)
    assert (credential.secrets, credential.literals) == ({"key"}, ("sk-canary ",))
    assert credential.sets == "the header x-key"
