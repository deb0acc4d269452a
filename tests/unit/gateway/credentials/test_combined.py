from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.combined import Credentials
from oo.gateway.credentials.registry import Registry
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools
from tests.support.private_keys import rsa_pem

SIGV4 = "sigv4 access_key={a} secret_key={k} region=r service=s3"
VALUES = {
    "a": "access-key",
    "k": "secret-key",
    "h": "header-key",
    "q": "query-key",
    "p": "path-key",
    "other": "unused-key",
}


async def test_what_signs_signs_what_the_others_made(tools: Tools) -> None:
    made = Registry().of((SIGV4, "header X-Amz-Extra: {h}", "query q={q}", "path https://h/{p}"))
    request = oo.Request("GET", "https://h/{p}/x", base_url="https://h/{p}")
    sent = await made.apply(request, VALUES, tools)
    assert sent.url == "https://h/path-key/x?q=query-key"
    assert "x-amz-extra" in sent.headers["Authorization"]
    assert set(VALUES.values()) - {"unused-key"} <= tools.hidden
    assert "unused-key" not in tools.hidden
    assert made.secrets == {"a", "k", "h", "q", "p"}
    assert "https://h/" in made.literals


async def test_each_value_is_hidden_before_any_is_used(tools: Tools) -> None:
    made = Registry().of(("header X-First: {h}", "header X-Second: {gone}"))
    with pytest.raises(oo.DoubleOError, match="a secret that it injects is missing"):
        await made.apply(oo.Request("GET", "https://h/"), VALUES, tools)
    assert tools.hidden == {"header-key"}


@pytest.mark.parametrize(
    "texts",
    [
        ("header X-Key: {h}", "header x_key: {q}"),
        ("header Authorization: {h}", "basic {a}:{k}"),
        ("basic {a}:{k}", SIGV4),
        ("query k={q}", "query k={h}"),
        ("jwt alg=HS256 key={k}", SIGV4),
    ],
)
def test_two_that_set_the_same_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(StoreError, match="is set twice"):
        Registry().of(texts)


async def test_each_is_told_of_a_refusal_and_asked_what_it_shows(tools: Tools) -> None:
    made = Registry().of(("header X-Key: {h}", "jwt alg=HS256 key={k}"))
    values = {**VALUES, "k": "k" * 32}
    made.check(values)
    request = await made.apply(oo.Request("GET", "https://h/"), values, tools)
    assert made.refused(request, values, tools) is True
    assert Registry().of(("header X-Key: {h}",)).refused(request, values, tools) is False
    assert made.shown() == ["header X-Key: {h}", "jwt alg=HS256 key={k}"]
    assert repr(made) == "<Credentials header X-Key: {h}, jwt alg=HS256 key={k}>"
    with pytest.raises(oo.DoubleOError, match="32 bytes or more"):
        made.check(VALUES)


async def test_none_at_all_change_nothing(tools: Tools) -> None:
    request = oo.Request("GET", "https://h/")
    assert await Credentials([]).apply(request, {}, tools) is request


async def test_a_private_key_is_sent_to_nobody_and_not_masked(tools: Tools) -> None:
    values = {"pem": rsa_pem(), "iss": "the issuer", "h": "header-key"}
    made = Registry().of(("jwt alg=RS256 key={pem} iss={iss}", "header X-Key: {h}"))
    sent = await made.apply(oo.Request("GET", "https://h/"), values, tools)
    assert tools.hidden == {"the issuer", "header-key", sent.headers["Authorization"].removeprefix("Bearer ")}
    # Where another credential sends it, it is.
    assert Registry().of(("jwt alg=RS256 key={pem}", "query k={pem}")).masked == {"pem"}
    assert Registry().of(("jwt alg=HS256 key={k}",)).masked == {"k"}
