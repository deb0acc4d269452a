"""What may be kept in a gateway."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oo.gateway import rules
from oo.gateway.errors import StoreError
from oo.gateway.models import Rate, Route, SecretRef, Upstream

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize("name", ["A", "_", "a1", "API_KEY"])
def test_a_variable_has_a_name(name: str) -> None:
    rules.check_variables({name: "value", "OTHER": SecretRef("key")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x") for name in ("", "1A", "not a name", "A-B", "A=B", "Ä", "A\n", "A\0")),
        ("A", f"{CANARY}\0"),
        ("A", f"{CANARY}\ud800"),
    ],
)
def test_what_is_no_variable_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(StoreError) as caught:
        rules.check_variables({"GOOD": "x", name: value})
    assert CANARY not in str(caught.value)


def test_an_environment_of_nothing_is_none() -> None:
    with pytest.raises(StoreError):
        rules.check_variables({})


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), (" 24h", 86400), ("36600d", rules.MAX_TTL)])
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert rules.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "24", "h", "0s", "-1h", "1.5h", "24 h", "1w", "٣h", "36601d", "9999999999d", "1h1m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="is no time"):
        rules.parse_duration(text)


@pytest.mark.parametrize(("text", "count", "seconds"), [("5/s", 5, 1), ("60/m", 60, 60), ("100/h", 100, 3600)])
def test_a_rate_is_a_count_by_a_unit_and_shown_as_it_was_given(text: str, count: int, seconds: float) -> None:
    assert rules.parse_rate(text) == Rate(count, seconds)
    assert rules.format_rate(Rate(count, seconds)) == text


@pytest.mark.parametrize(
    "text", ["", "60", "60/", "/m", "0/m", "-1/m", "60/w", "60/mm", "9999999999/s", "1000000001/s"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="is no rate"):
        rules.parse_rate(text)


def test_a_rate_of_odd_seconds_is_shown_too() -> None:
    assert rules.format_rate(Rate(5, 1.5)) == "5/1.5s"


@pytest.mark.parametrize("uses", [0, -1, 10**9 + 1])
def test_what_is_no_number_of_uses_is_refused(uses: int) -> None:
    with pytest.raises(StoreError):
        rules.check_uses(uses)


@pytest.mark.parametrize("other", ["Authorization", "authorization", "AUTHORIZATION"])
def test_headers_differ_by_more_than_case(other: str) -> None:
    with pytest.raises(StoreError, match="injected twice"):
        rules.injected([("Authorization", "a"), (other, "b")])
    if other != "Authorization":
        with pytest.raises(StoreError, match="case"):
            Route("api", "https://example.com", {"Authorization": "a", other: "b"})


@pytest.mark.parametrize("text", ["Bearer {key}", "{a}:{b}", "plain", "$5 a month", "a$", "100%"])
def test_a_text_may_hold_the_names_of_secrets(text: str) -> None:
    rules.check_injected({"Authorization": text, "X-Host-Id": "x"})


@pytest.mark.parametrize(
    "text", ["{key", "key}", "Bearer {key} {", "{{key}}", "{ key }", "{}", "{my key}", "$KEY", "${KEY}", "$(cat key)"]
)
def test_a_text_that_was_meant_for_something_else_is_refused_and_not_said_again(text: str) -> None:
    with pytest.raises(StoreError, match="Authorization") as caught:
        rules.check_injected({"Authorization": f"{CANARY} {text}"})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    "Connection connection Keep-Alive Proxy-Authorization Proxy-Connection TE Trailer Transfer-Encoding "
    "TRANSFER_ENCODING Upgrade Content-Length content_length Content-Encoding Accept-Encoding Expect".split(),
)
def test_a_header_of_the_connection_or_of_framing_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match=name):
        rules.check_injected({name: "x"})


LITERALS = [
    *(
        "https://127.0.0.1",
        "https://10.0.0.5:8443/v1",
        "https://192.168.1.1",
        "https://169.254.169.254",
        "https://[::1]",
    ),
    *("https://[fd00::1]", "https://127.1", "https://2130706433", "https://0x7f.1", "https://0.0.0.0", "https://[::]"),
    *(
        "https://localhost",
        "https://LOCALHOST:1",
        "https://api.localhost",
        "https://localhost.",
        "https://[::ffff:10.0.0.1]",
    ),
]


@pytest.mark.parametrize("url", LITERALS)
def test_a_private_upstream_is_refused_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(StoreError, match="--allow-private"):
        rules.check_upstream(Route("api", url))
    rules.check_upstream(Route("api", url, allow_private=True))


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "http://8.8.8.8", "http://10.0.0.5", "http://127.0.0.1.evil.com"]
)
def test_plain_http_to_another_machine_is_refused_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(StoreError, match="--allow-plain-http"):
        rules.check_upstream(Route("api", url, allow_private=True))
    rules.check_upstream(Route("api", url, allow_private=True, allow_plain_http=True))


@pytest.mark.parametrize(
    "url", ["https://api.example.com", "https://8.8.8.8/v1", "http://127.0.0.1:80", "http://[::1]"]
)
def test_other_upstreams_are_taken(url: str) -> None:
    rules.check_upstream(Route("api", url, allow_private="//127" in url or "::1" in url))


@pytest.mark.parametrize(("value", "weak"), [("", True), ("407193", True), ("1234567", True), ("12345678", False)])
def test_a_value_of_less_than_eight_characters_is_weak(value: str, weak: bool) -> None:
    assert rules.is_weak(value) is weak


@pytest.mark.parametrize(
    ("name", "said"), [("opnai-key", "; did you mean 'openai-key'?"), ("zzz", ""), ("web", "; did you mean 'webb'?")]
)
def test_the_nearest_names_are_said(name: str, said: str) -> None:
    assert rules.nearest(name, ["openai-key", "webb", "other"]) == said


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "Host", "Content-Length", "Transfer_Encoding", "Upgrade"]
)
def test_what_is_between_the_caller_and_the_gateway_is_not_passed_on(name: str) -> None:
    with pytest.raises(StoreError, match="is not passed on"):
        rules.check_passed(["X-Mine", name])


@pytest.mark.parametrize(
    ("texts", "fields"),
    [
        (["https://a.example"], {"upstream": "https://a.example", "weight": 1, "others": ()}),
        ([" https://a.example  weight=3 "], {"upstream": "https://a.example", "weight": 3, "others": ()}),
        (
            ["https://a.example", "https://b.example/v1 weight=2", "https://c.example"],
            {
                "upstream": "https://a.example",
                "weight": 1,
                "others": (Upstream("https://b.example/v1", 2), Upstream("https://c.example")),
            },
        ),
    ],
)
def test_an_upstream_is_a_url_and_may_have_a_weight(texts: list[str], fields: dict[str, object]) -> None:
    assert rules.parse_upstreams(texts) == fields


@pytest.mark.parametrize(
    "text", ["", "https://a weight=", "https://a weight=-1", "https://a weight=1.5", "https://a w=1", "a b c"]
)
def test_what_is_no_upstream_is_refused_and_not_said_again(text: str) -> None:
    with pytest.raises(StoreError, match="an --upstream is a URL") as caught:
        rules.parse_upstreams(["https://x.example", text])
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("url", "flag"), [("https://10.0.0.5", "private"), ("http://b.example", "plain-http")])
def test_the_rules_hold_for_each_upstream(url: str, flag: str) -> None:
    route = Route("r", "https://a.example", others=(Upstream("https://b.example"), Upstream(url)))
    with pytest.raises(StoreError, match=f"--allow-{flag}"):
        rules.check_upstream(route)
    rules.check_upstream(replace(route, allow_private=True, allow_plain_http=True))


def test_other_headers_may_be_passed_on() -> None:
    rules.check_passed(["Range", "Cookie", "X-Forwarded-For"])
