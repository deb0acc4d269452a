from __future__ import annotations

from collections.abc import Mapping

import pytest

import oo
from oo.gateway.credentials.base import CredentialTools
from oo.gateway.credentials.bearer import FetchedBearer
from oo.gateway.credentials.token_source import FetchedToken
from tests.support.credential_tools import Tools

REQUEST = oo.Request("GET", "http://upstream/")


class Counting(FetchedBearer):
    """Gives the secret's value with a number behind it."""

    kind = "counting"
    required = "key"
    optional = "text"
    count = 0

    async def fetch(self, request: oo.Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        self.count += 1
        return FetchedToken(f"{values['k']}-{self.count}", 100.0)


async def test_a_token_belongs_to_the_values_that_it_was_fetched_with(tools: Tools) -> None:
    made, got = Counting.parse("key={k} text=x"), []
    for values in ({"k": "a"}, {"k": "b"}, {"k": "a", "unrelated": "c"}):
        got.append((await made.apply(REQUEST, values, tools)).headers["Authorization"])
    assert got == ["Bearer a-1", "Bearer b-2", "Bearer a-1"]
    assert tools.hidden == {"a-1", "b-2"}


async def test_two_credentials_share_no_token(tools: Tools) -> None:
    first, second = Counting.parse("key={k}"), Counting.parse("key={k} text=y")
    await first.apply(REQUEST, {"k": "a"}, tools)
    await second.apply(REQUEST, {"k": "a"}, tools)
    assert (first.count, second.count) == (1, 1)


async def test_only_the_token_that_was_sent_is_forgotten(tools: Tools) -> None:
    made, values = Counting.parse("key={k}"), {"k": "a"}
    first = await made.apply(REQUEST, values, tools)
    other = REQUEST.with_header("Authorization", "Bearer other")
    assert made.refused(other, values, tools) is True
    assert (await made.apply(REQUEST, values, tools)).headers["Authorization"] == "Bearer a-1"
    assert made.refused(first, values, tools) is True
    assert (await made.apply(REQUEST, values, tools)).headers["Authorization"] == "Bearer a-2"


@pytest.mark.parametrize(
    ("value", "allow_weak", "is_used"),
    [("canar", False, False), ("canary", False, True), ("canar", True, True)],
    ids=["seven characters", "eight characters", "seven, and the route takes them"],
)
async def test_a_token_too_short_to_be_masked_is_not_used_unless_the_route_takes_such(
    value: str, allow_weak: bool, is_used: bool, tools: Tools
) -> None:
    tools.allow_weak = allow_weak
    made = Counting.parse("key={k}")
    if is_used:
        sent = await made.apply(REQUEST, {"k": value}, tools)
        assert sent.headers["Authorization"] == f"Bearer {value}-1"
        return
    with pytest.raises(oo.DoubleOError, match=r"too short to be masked.*--allow-weak") as caught:
        await made.apply(REQUEST, {"k": value}, tools)
    assert value not in str(caught.value)
    assert not tools.hidden
