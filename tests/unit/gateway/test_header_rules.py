from __future__ import annotations

import pytest

from oo.gateway.header_rules import (
    CODINGS,
    DROP,
    FAMILIES,
    HOP,
    HOP_BY_HOP,
    KEPT_BACK,
    PASS,
    RANGE,
    HeaderRules,
    Verdicts,
    plain,
)

NAMES = """
    Remote-User Remote-Groups X-Remote-User X-Remote-Group X-Remote-Extra-Scopes X-WebAuth-User X-WEBAUTH-EMAIL
    X-SSL-Client-Cert X-SSL-Client-Verify SSL-Client-Subject-DN X-Client-IP X-Client-Cert X-Client-DN X-Forwarded
    X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Client-Cert X-Forwarded-User X-Real-IP Forwarded
    Private-Token Job-Token X-HTTP-Method-Override X-HTTP-Method X-Method-Override Cookie Cookie2 X-Original-URL
    X-Original-Host X-Rewrite-URL X-Host Host Via Authorization X-API-Key Api-Key X-Goog-Api-Key True-Client-IP
    CF-Connecting-IP CF-Access-Jwt-Assertion X-Auth-Request-User X-Authenticated-User X-Amzn-Oidc-Identity
    X-MS-CLIENT-PRINCIPAL-NAME X-Goog-Authenticated-User-Email X-Goog-IAP-JWT-Assertion Impersonate-User
    X-Consumer-Username X-Envoy-Original-Path X-Middleware-Subrequest X-Sendfile-Type X-Accel-Mapping Proxy Client-Cert
    X-HTTP-Verb-Override X-HTTP-Path-Override X-Override-Method X-Override-URL X-HTTP-Verb HTTP-X-Forwarded-For
    Forwarded-Proto Z-Forwarded-For X-Vercel-Forwarded-For Proxy-Remote-User Redirect-Remote-User X-Proxy-Remote-Addr
    Fastly-Client-IP DO-Connecting-IP X-Cluster-Client-IP X-Source-IP X-Host-Override X-HTTP-Host-Override
    Authenticated-User X-Verified-User X-Krb-User X-JWT-Assertion X-Akamai-Client-IP HTTP-Remote-User
    X-User X-User-Id X-User-Roles X-Email X-Groups Tailscale-User-Login Connection TE Transfer-Encoding Keep-Alive
    X-OO-Request-Id
""".split()

OTHERS = """
    Accept Accept-Language Content-Type Content-Encoding Content-Language If-None-Match Idempotency-Key Prefer
    User-Agent X-User-Agent OpenAI-Beta anthropic-version anthropic-beta X-Stainless-Lang X-Stainless-OS
    X-Request-Id X-GitHub-Api-Version X-Goog-Api-Client X-Goog-User-Project X-Amz-Date X-Amz-Content-Sha256 X-MS-Version
    Stripe-Version Origin Referer traceparent Last-Event-ID X-Mine X-Userland X-Emailer
    Remoteness Forwarder Viable X-Hostess HTTP-Referer X-Override X-Timeout-Override X-Realtime-IP
    X-Method-Name Path-Style Roles
""".split()


def spellings(name: str) -> set[str]:
    return {name, name.upper(), name.lower(), name.replace("-", "_"), name.replace("-", "."), name.swapcase()}


@pytest.mark.parametrize("name", NAMES)
def test_identity_routing_and_method_overrides_stay_however_they_are_spelled(name: str) -> None:
    rules = HeaderRules((), ())
    assert {rules.verdict(each) for each in spellings(name)} == {HOP if name == "Connection" else DROP}


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest_passes(name: str) -> None:
    assert HeaderRules((), ()).verdict(name) == PASS


@pytest.mark.parametrize("name", ["Cookie", "X-Forwarded-For", "Remote_User", "x.real.ip"])
def test_the_routes_own_word_decides(name: str) -> None:
    for spelled in spellings(name):
        assert HeaderRules((name,), ()).verdict(spelled) == PASS
        assert HeaderRules((name,), (name.lower(),)).verdict(spelled) == DROP


def test_what_a_route_drops_stays() -> None:
    rules = HeaderRules((), ("X-Mine", "Range", "Accept-Encoding"))
    assert {rules.verdict(name) for name in ("x_mine", "X.Mine", "RANGE", "accept-encoding")} == {DROP}
    assert rules.verdict("X-Mines") == PASS


def test_what_says_more_than_its_own_value_is_told_apart() -> None:
    rules = HeaderRules(("Accept-Encoding",), ())
    assert [rules.verdict(name) for name in ("range", "ACCEPT_ENCODING", "connection")] == [RANGE, CODINGS, HOP]


def test_a_row_of_names_is_judged_once_and_few_are_remembered() -> None:
    rules = HeaderRules((), ())
    names = ("Accept", "Range", "Connection", "X-A", "Accept-Encoding")
    first = rules.judge(names)
    assert first == Verdicts(passed=(0, 1, 3), codings=(4,), names_hops=True, asks_for_range=True)
    assert rules.judge(names) is first
    for number in range(100):
        assert rules.judge((f"X-{number}",)) == Verdicts((0,), (), names_hops=False, asks_for_range=False)
    assert rules.judge(names) is not first


def test_the_lists_are_plain() -> None:
    assert all(plain(name) == name for name in [*KEPT_BACK, *FAMILIES])
    assert HOP_BY_HOP <= KEPT_BACK
    assert not any(name.startswith(FAMILIES) for name in KEPT_BACK - HOP_BY_HOP)
    assert not any(name.endswith("-") for name in KEPT_BACK)  # half a name keeps back nothing
