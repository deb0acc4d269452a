from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.jwt import JwtCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools
from tests.support.private_keys import ec_pem, read_jwt, rsa_pem

REQUEST = oo.Request("GET", "http://upstream/", oo.Headers({"authorization": "Bearer of the caller"}))


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_it_sends_an_assertion_of_its_own(alg: str, tools: Tools) -> None:
    pem = rsa_pem() if alg == "RS256" else ec_pem()
    made = JwtCredential.parse(f"alg={alg} key={{pem}} iss={{iss}} sub=s aud=https://a scope='x y' kid=k1 ttl=100")
    sent = await made.apply(REQUEST, {"pem": pem, "iss": "me"}, tools)
    ((_, value),) = sent.headers.pairs()
    header, claims = read_jwt(value.removeprefix("Bearer "), pem)
    assert header == {"alg": alg, "typ": "JWT", "kid": "k1"}
    now = int(tools.now())
    assert claims == {"iss": "me", "sub": "s", "aud": "https://a", "scope": "x y", "iat": now, "exp": now + 100}
    assert value.removeprefix("Bearer ") in tools.hidden


async def test_it_is_signed_anew_at_four_fifths_of_its_life(tools: Tools) -> None:
    made, values, got = JwtCredential.parse("alg=HS256 key={k} ttl=100"), {"k": "k" * 32}, []
    for seconds in (0, 79, 2):
        tools.io.advance(seconds)
        sent = await made.apply(REQUEST, values, tools)
        got.append(read_jwt(sent.headers["Authorization"].removeprefix("Bearer "), values["k"])[1]["exp"])
    assert got == [int(tools.began) + 100, int(tools.began) + 100, int(tools.began) + 181]


@pytest.mark.parametrize(
    "text",
    [
        "alg=RS256",
        "alg=none key={k}",
        "alg={a} key={k}",
        "alg=HS256 key=canary",
        "alg=HS256 key={k} ttl=canary",
        "alg=HS256 key={k} exp=canary",
    ],
)
def test_what_can_never_be_signed_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        JwtCredential.parse(text)
    assert "canary" not in str(caught.value)


def test_a_key_is_checked_when_it_is_set() -> None:
    made = JwtCredential.parse("alg=RS256 key={pem}")
    made.check({"pem": rsa_pem()})
    with pytest.raises(oo.DoubleOError, match="no private key in PEM"):
        made.check({"pem": "canary"})
    assert made.shown() == "jwt alg=RS256 key={pem}"
