from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.query import QueryCredential, without_parameters
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools

VALUES = {"maps-key": "a&b=c d/é", "half": "\ud800"}
ADDED = "key=a%26b%3Dc%20d%2F%C3%A9"


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://x/y", f"?{ADDED}"),
        ("http://x/y?", f"?{ADDED}"),
        ("http://x/y?a=1", f"?a=1&{ADDED}"),
        ("http://x/y?key=mine", f"?{ADDED}"),
        ("http://x/y?key=mine&a=1&key&b=2", f"?a=1&b=2&{ADDED}"),
        ("http://x/y?a=key&keys=1&akey=2", f"?a=key&keys=1&akey=2&{ADDED}"),
    ],
)
async def test_the_parameter_is_added_and_the_callers_own_dropped(url: str, sent: str, tools: Tools) -> None:
    made = await QueryCredential.parse("key={maps-key}").apply(oo.Request("GET", url), VALUES, tools)
    assert made.url == f"http://x/y{sent}"


@pytest.mark.parametrize("spelled", ["KEY", "k%65y", "k%2565y", "+key", "%20key", "key%20", "k%252565y"])
@pytest.mark.parametrize("mark", ["&", ";"])
def test_a_name_is_found_however_it_is_spelled(spelled: str, mark: str) -> None:
    assert without_parameters(f"a=1{mark}{spelled}=mine{mark}b=2", ["key"]) == f"a=1{mark}b=2"


@pytest.mark.parametrize("text", ["", "canary", "=canary", "a b=canary", "a&b=canary", "key=", "key={canary"])
def test_what_is_no_parameter_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        QueryCredential.parse(text)
    assert "canary" not in str(caught.value)


async def test_a_value_that_is_no_text_is_not_sent(tools: Tools) -> None:
    credential = QueryCredential.parse("key={half}")
    with pytest.raises(oo.DoubleOError, match="cannot be in a query"):
        credential.check(VALUES)
    with pytest.raises(oo.DoubleOError) as caught:
        await credential.apply(oo.Request("GET", "http://x/"), VALUES, tools)
    assert caught.value.__context__ is None


def test_it_shows_its_name_and_secrets() -> None:
    credential = QueryCredential.parse("key=canary{maps-key}")
    assert (credential.shown(), credential.secrets) == ("query key=...{maps-key}", {"maps-key"})
    assert credential.sets == "the parameter key"
