from __future__ import annotations

from collections.abc import Mapping

import pytest

import oo
from oo.gateway.credentials.base import CredentialTools
from oo.gateway.credentials.options import OptionsCredential
from oo.gateway.errors import StoreError


class Sample(OptionsCredential):
    kind = "sample"
    required = "url key"
    optional = "text ttl"
    secret = "key"

    async def apply(self, request: oo.Request, values: Mapping[str, str], tools: CredentialTools) -> oo.Request:
        return request


def test_options_are_words_quoted_as_a_shell_has_it() -> None:
    sample = Sample.parse("""url=http://h key={k} text="a b {{{x}" """)
    assert sample.rendered({"k": "1", "x": "2"}) == {"url": "http://h", "key": "1", "text": "a b {2"}
    assert (sample.secrets, sample.literals) == ({"k", "x"}, ("http://h", "a b {"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "sample needs url, key"),
        ("url=http://h", "sample needs key"),
        ("url=http://h key={k} canary", "is none of url key text ttl"),
        ("url=http://h key={k} canary=1", "is none of url key text ttl"),
        ("url=http://h key={k} url=http://canary", "url is given twice"),
        ("url=http://h key=", "key is given twice, or has no text"),
        ("url=http://h key=canary", "key must be a secret's name in braces"),
        ("url=http://h key={k}canary", "key must be a secret's name in braces"),
        ("url=http://h key={k canary}", "is not closed"),
        ("url='http://canary", "a quote is not closed"),
    ],
)
def test_what_is_no_set_of_options_is_refused_and_not_quoted(text: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        Sample.parse(text)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("url", ["h", "ftp://h", "http://", "http://user:canary@h", "http://h/#canary", "{k}"])
def test_a_url_is_one(url: str) -> None:
    with pytest.raises(StoreError, match="url") as caught:
        Sample.parse(f"url={url} key={{k}}").url("url")
    assert "canary" not in str(caught.value)


def test_a_url_may_have_a_query_which_is_not_shown() -> None:
    sample = Sample.parse("url=https://h/t?tenant=canary key={k}")
    assert sample.url("url") == "https://h/t?tenant=canary"
    assert sample.shown() == "sample url=https://h/t key={k}"


@pytest.mark.parametrize("ttl", ["0", "-1", "1.5", "x", "601", "9" * 5000, "{k}", "²"])
def test_seconds_are_whole_and_within_limits(ttl: str) -> None:
    with pytest.raises(StoreError, match="ttl"):
        Sample.parse(f"url=http://h key={{k}} ttl={ttl}").whole("ttl", 300, 600)


def test_an_option_that_is_not_given_has_its_default() -> None:
    sample = Sample.parse("url=http://h key={k}")
    assert (sample.whole("ttl", 300, 600), sample.literal("text", "x")) == (300, "x")
