from __future__ import annotations

import base64

import pytest

import oo
from oo.gateway.credentials.basic import BasicCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools

VALUES = {"user": "aladdin", "password": "open:sésame", "tab": "a\tb"}


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("{user}:{password}", "aladdin:open:sésame"),
        ("api:{password}", "api:open:sésame"),
        ("{user}:", "aladdin:"),
        (":{password}", ":open:sésame"),
        ("x{user}:a:b", "xaladdin:a:b"),
    ],
)
async def test_user_and_password_go_as_basic(text: str, decoded: str, tools: Tools) -> None:
    request = oo.Request("GET", "http://x/", oo.Headers({"authorization": "Bearer of the caller"}))
    sent = await BasicCredential.parse(text).apply(request, VALUES, tools)
    ((name, value),) = sent.headers.pairs()
    scheme, _, coded = value.partition(" ")
    assert (name, scheme, base64.b64decode(coded).decode()) == ("Authorization", "Basic", decoded)
    user, _, password = decoded.partition(":")
    assert tools.hidden == {decoded, f":{password}", password or user}


@pytest.mark.parametrize("text", ["", "{user}", "canary", "canary\t:x", "u:canary\x7f", "{user:canary"])
def test_what_is_no_user_and_password_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        BasicCredential.parse(text)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("text", "name"), [("{password}:x", "password"), ("{tab}:x", "tab"), ("x:{tab}", "tab")])
async def test_a_value_that_would_be_read_otherwise_is_not_sent(text: str, name: str, tools: Tools) -> None:
    credential = BasicCredential.parse(text)
    with pytest.raises(oo.DoubleOError, match="a value cannot be a user or a password"):
        credential.check(VALUES)
    with pytest.raises(oo.DoubleOError) as caught:
        await credential.apply(oo.Request("GET", "http://x/"), VALUES, tools)
    assert VALUES[name] not in str(caught.value)


def test_it_shows_its_secrets_alone() -> None:
    credential = BasicCredential.parse("canary:{password}")
    assert (credential.shown(), credential.secrets) == ("basic ...:{password}", {"password"})
    assert credential.literals == ("canary",)
