from __future__ import annotations

import base64

import pytest

from oo.gateway.errors import GatewayError
from oo.gateway.token_places import take_token
from tests.support.calls import call

TOKEN, OTHER = "oo_" + "a" * 43 + "81QPUg", "oo_" + "b" * 43 + "W1Li8Q"
TYPO = TOKEN[:-1] + ("a" if TOKEN[-1] != "a" else "b")
SCOPE = "20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff"
PATH = "/api/proxy/v1/x"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


PLACES = {
    "bearer": ("Authorization", f"Bearer {TOKEN}"),
    "bearer in small letters": ("authorization", f"bearer   {TOKEN}"),
    "GitHub's scheme": ("Authorization", f"token {TOKEN}"),
    "a password": ("Authorization", basic(f"somebody:{TOKEN}")),
    "a password, beside another token": ("Authorization", basic(f"{OTHER}:{TOKEN}")),
    "a user without a password": ("Authorization", basic(f"{TOKEN}:")),
    "a user without a colon": ("Authorization", basic(TOKEN)),
    "an access key of AWS": ("Authorization", f"AWS4-HMAC-SHA256 Credential={TOKEN}/{SCOPE}"),
    "an access key of AWS, without spaces": (
        "Authorization",
        f"AWS4-HMAC-SHA256 SignedHeaders=host,Credential={TOKEN}/20260101/x/s3/aws4_request,Signature=0",
    ),
    "Anthropic": ("x-api-key", TOKEN),
    "Azure": ("api-key", TOKEN),
    "Google": ("X-Goog-Api-Key", f" {TOKEN} "),
    "GitLab": ("PRIVATE-TOKEN", TOKEN),
    "an underscore": ("X_Api_Key", TOKEN),
}


@pytest.mark.parametrize("in_query", [True, False])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_token_is_taken_from_a_header(place: tuple[str, str], in_query: bool) -> None:
    others = ("Accept", "a"), ("X-Key", OTHER), ("api-key", "of somebody else")
    token, request = take_token(call("GET", f"{PATH}?a=1", others[0], place, *others[1:]), in_query=in_query)
    assert (token, request.headers.pairs(), request.url) == (TOKEN, others, f"{PATH}?a=1")


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        (f"?key={TOKEN}", ""),
        (f"?a=1&key={TOKEN}&b=%20", "?a=1&b=%20"),
        (f"?key={TOKEN}&key=other", "?key=other"),
        (f"?%6bey=%6F{TOKEN[1:]}", ""),
        (f"?key={TOKEN}&", "?"),
    ],
)
def test_a_token_is_taken_from_the_query_where_that_is_a_place(query: str, rest: str) -> None:
    token, request = take_token(call("GET", PATH + query), in_query=True)
    assert (token, request.url) == (TOKEN, PATH + rest)
    token, request = take_token(call("GET", PATH + query), in_query=False)
    assert (token, request.url) == ("", PATH + query)


@pytest.mark.parametrize("url", [f"{PATH}?key=sk-other", f"{PATH}?Key={OTHER}", f"{PATH}?key=oo_x", f"{PATH}?key"])
def test_another_key_in_the_query_passes(url: str) -> None:
    token, request = take_token(call("GET", url, ("api-key", TOKEN)), in_query=True)
    assert (token, request.url) == (TOKEN, url)


@pytest.mark.parametrize("second", [*PLACES.values(), None], ids=[*PLACES, "the query"])
@pytest.mark.parametrize("same", [True, False])
def test_two_places_are_one_too_many(second: tuple[str, str] | None, same: bool) -> None:
    first = TOKEN if same else OTHER
    headers = [("Authorization", f"Bearer {first}"), *([second] if second else [])]
    url = PATH if second else f"{PATH}?key={TOKEN}"
    with pytest.raises(GatewayError, match="one place") as caught:
        take_token(call("GET", url, *headers), in_query=True)
    assert caught.value.status == 400
    assert TOKEN not in str(caught.value)


def test_a_token_with_a_typo_is_taken_as_well_and_goes_nowhere() -> None:
    token, request = take_token(call("GET", f"{PATH}?key={TYPO}"), in_query=True)
    assert (token, request.url) == (TYPO, PATH)
    with pytest.raises(GatewayError, match="one place"):
        take_token(call("GET", f"{PATH}?key={TYPO}", ("api-key", TOKEN)), in_query=True)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([], ""),
        (["Bearer any"], "any"),
        (["Bearer oo_x"], "oo_x"),
        ([f"Bearer {TOKEN}, Bearer {TOKEN}"], f"{TOKEN}, Bearer {TOKEN}"),
        (["Bearer any", "Bearer any"], ""),
        (["Bearer"], ""),
        (["Bearer "], ""),
        (["Basic any"], ""),
        ([basic("any:")], ""),
        (["Basic \udcff"], ""),
        ([f"Basic {TOKEN}"], ""),
        ([f"Digest {TOKEN}"], ""),
        ([f"AWS4-HMAC-SHA256 Credential={TOKEN}"], ""),
        ([f"HMAC Credential={TOKEN}/x"], ""),
        ([TOKEN], ""),
    ],
)
def test_where_there_is_no_token_a_bearer_is_given_whatever_it_is(headers: list[str], text: str) -> None:
    sent = call("GET", PATH, *[("Authorization", each) for each in headers], ("x-api-key", "sk-other"))
    token, request = take_token(sent, in_query=True)
    assert (token, request) == (text, sent)


@pytest.mark.parametrize(
    ("offers", "left"),
    [
        (f"realtime, openai-insecure-api-key.{TOKEN}", "realtime"),
        (f"openai-insecure-api-key.{TOKEN},openai-beta.realtime-v1", "openai-beta.realtime-v1"),
        (TOKEN, ""),
    ],
)
def test_a_browsers_websocket_offers_it_as_a_protocol(offers: str, left: str) -> None:
    token, request = take_token(call("GET", PATH, ("Sec-WebSocket-Protocol", offers)), in_query=True)
    assert (token, request.headers["Sec-WebSocket-Protocol"]) == (TOKEN, left)
