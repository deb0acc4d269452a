from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.path import PathCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools

TELEGRAM = "https://api.telegram.org/bot{tg}"
VALUES = {"tg": "123:ABC-d_e", "hook": "T00/B00/xyz", "odd": "a?b#c%2e é"}


@pytest.mark.parametrize(
    ("upstream", "sent"),
    [
        (TELEGRAM, "https://api.telegram.org/bot123:ABC-d_e/getMe?x=1"),
        (TELEGRAM + "/", "https://api.telegram.org/bot123:ABC-d_e/getMe?x=1"),
        ("http://h:81/{hook}", "http://h:81/T00/B00/xyz/getMe?x=1"),
        ("http://h/a/{odd}/b", "http://h/a/a%3Fb%23c%252e%20%C3%A9/b/getMe?x=1"),
    ],
)
async def test_the_secret_stands_in_the_path(upstream: str, sent: str, tools: Tools) -> None:
    base = upstream.rstrip("/")
    request = oo.Request("GET", f"{base}/getMe?x=1", base_url=base)
    made = await PathCredential.parse(upstream).apply(request, VALUES, tools)
    assert made.url == sent
    assert repr(made) == "<Request proxy: GET /getMe>"


async def test_a_request_to_another_upstream_of_the_route_is_left_as_it_is(tools: Tools) -> None:
    request = oo.Request("GET", "https://other/getMe", base_url="https://other")
    assert await PathCredential.parse(TELEGRAM).apply(request, VALUES, tools) is request


@pytest.mark.parametrize(
    "text",
    "https://{tg}/x https://h{tg}/x {tg}://h/ https://h/?k={tg} https://h/#{tg} https://h/{canary //canary/{tg} "
    "https://user:canary@h/{tg} https:///{tg}".split(),
)
def test_what_is_no_upstream_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        PathCredential.parse(text)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "..", ".", "a/../b", "..;x", "a\\b", "a\nb", "\x7f", "\ud800"])
async def test_a_value_that_would_lead_elsewhere_is_not_sent(value: str, tools: Tools) -> None:
    credential = PathCredential.parse("https://h/{tg}")
    with pytest.raises(oo.DoubleOError, match="a value cannot be in a path"):
        credential.check({"tg": value})
    with pytest.raises(oo.DoubleOError):
        await credential.apply(oo.Request("GET", "https://h/{tg}/x", base_url="https://h/{tg}"), {"tg": value}, tools)


def test_a_missing_value_is_said() -> None:
    with pytest.raises(oo.DoubleOError, match="a secret that it injects is missing"):
        PathCredential.parse(TELEGRAM).check({})


def test_it_shows_no_text_of_its_path() -> None:
    credential = PathCredential.parse("https://h/canary/{tg}")
    assert (credential.shown(), credential.secrets) == ("path https://h/...{tg}", {"tg"})
    assert "canary" in credential.literals[0]
