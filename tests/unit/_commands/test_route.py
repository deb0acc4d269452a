"""`oo route`."""

from __future__ import annotations

import json

import pytest

import oo
from tests.support.command import CANARY, Inside, listed, refused
from tests.unit.gateway.credentials.test_base import Plain


def test_a_route_is_kept_as_it_was_set(vault: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    vault(
        *("route", "set", "api", "--upstream", "https://api.openai.com", "--timeout", "2.5", "--allow-private"),
        *("--inject", "Authorization: Bearer {key}", "--inject", "X-Version: 2024:1"),
        *("--allow", "POST /v1/*", "--allow", "GET /v1/models"),
    )
    assert listed(vault("route", "list", "--json")) == [
        {
            "name": "api",
            "upstream": "https://api.openai.com",
            "inject": ["Authorization", "X-Version"],
            "secrets": ["key"],
            "allow": ["POST /v1/*", "GET /v1/models"],
            "timeout": 2.5,
            "private": True,
            "plain_http": False,
            "weak": False,
            "passed": [],
            "credentials": [],
            "tls": [],
            "dropped": [],
            "upstreams": ["https://api.openai.com"],
            "retries": 0,
            "cors": [],
            "websocket": False,
            "with": [],
        }
    ]
    assert vault("route", "list").stdout.split("\t")[2:5] == [
        "Authorization, X-Version",
        "key",
        "POST /v1/*, GET /v1/models",
    ]
    vault("route", "set", "api", "--upstream", "https://api.openai.com", "--replace")
    [row] = listed(vault("route", "list", "--json"))
    assert (row["inject"], row["allow"], row["timeout"], row["private"]) == ([], ["* /*"], 60, False)
    assert vault("route", "rm", "api").stdout == "route api is gone\n"
    assert listed(vault("route", "list", "--json")) == []


def test_a_route_hands_settings_to_plugins(vault: Inside) -> None:
    vault("route", "set", "api", "--upstream", "https://x.example", "--with", "timer unit=ms", "--with", "a x='1 2'")
    assert listed(vault("route", "list", "--json"))[0]["with"] == ["timer unit=ms", "a 'x=1 2'"]
    changed = vault("route", "update", "api", "--with", "timer unit=s", "--with", "a", "--with", "b y=1")
    assert changed.stdout.splitlines() == [
        "route api: with timer: changed",
        "route api: with a: dropped",
        "route api: with b: added",
    ]
    assert listed(vault("route", "list", "--json"))[0]["with"] == ["timer unit=s", "b y=1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--upstream", "https://host", "--with", "timer unit"), "not each a key=value"),
        (("--upstream", "ftp://host"), "upstream"),
        (("--upstream", "https://user:password@host"), "user name or password"),
        (("--upstream", "https://host", "--inject", "Authorization Bearer"), "no 'Header: text'"),
        (("--upstream", "https://host", "--inject", "Bad Header: x"), "no header"),
        (("--upstream", "https://host", "--inject", "Authorization: Bearer "), "Authorization ends in nothing"),
        (("--upstream", "https://host", "--inject", "X-Key:"), "X-Key ends in nothing"),
        (("--upstream", "https://host", "--query", "key=a "), "key ends in nothing"),
        (("--upstream", "https://host", "--inject", "X-Key: a\nX-Other: b"), "no header"),
        (("--upstream", "https://host", "--inject", "X-Key: a", "--inject", "x-key: b"), "injected twice"),
        (("--upstream", "https://host", "--allow", "/v1/*"), "no pattern"),
        (("--upstream", "https://host", "--timeout", "0"), "timeout"),
        (("--upstream", "https://host", "--timeout", "nan"), "timeout"),
    ],
)
def test_what_is_no_route_is_refused(options: tuple[str, ...], said: str, vault: Inside, inside: Inside) -> None:
    assert said in refused(inside("route", "set", "api", *options))
    assert listed(vault("route", "list", "--json")) == []


def test_a_route_needs_an_upstream(vault: Inside, inside: Inside) -> None:
    assert "--upstream" in refused(inside("route", "set", "api"), 2)


def test_a_route_that_is_there_is_kept_unless_it_is_replaced(full: Inside, inside: Inside) -> None:
    [before] = listed(full("route", "list", "--json"))
    assert "oo route update api" in refused(inside("route", "set", "api", "--upstream", "https://other.example.com"))
    assert listed(full("route", "list", "--json")) == [before]
    full("route", "set", "api", "--upstream", "https://other.example.com", "--replace")
    assert listed(full("route", "list", "--json"))[0]["inject"] == []


def test_an_update_says_what_changed_and_leaves_the_rest(full: Inside, inside: Inside) -> None:
    [before] = listed(full("route", "list", "--json"))
    assert full("route", "update", "api", "--timeout", "5").stdout == "route api: timeout: 60 -> 5\n"
    assert listed(full("route", "list", "--json")) == [{**before, "timeout": 5.0}]
    assert full("route", "update", "api", "--timeout", "5").stdout == "route api: nothing changed\n"
    result = full("route", "update", "api", "--inject", "X-Key: a text", "--drop", "authorization")
    assert result.stdout == "route api: inject Authorization: dropped\nroute api: inject X-Key: added\n"
    full("route", "update", "api", "--allow", "GET /x", "--allow-private")
    [row] = listed(full("route", "list", "--json"))
    assert (row["inject"], row["allow"], row["private"]) == (["X-Key"], ["GET /x"], True)
    full("route", "update", "api", "--allow-all", "--no-allow-private")
    [row] = listed(full("route", "list", "--json"))
    assert (row["allow"], row["private"]) == (["* /*"], False)
    assert "name what is to change" in refused(inside("route", "update", "api"), 2)


def test_upstreams_retries_origins_and_headers_are_set_changed_and_cleared(vault: Inside) -> None:
    vault(
        *("route", "set", "api", "--upstream", "https://a.example", "--upstream", "https://b.example weight=2"),
        *("--retries", "2", "--cors", "https://app.example", "--drop-header", "X-Mine", "--pass-header", "Cookie"),
    )
    [row] = listed(vault("route", "list", "--json"))
    assert row["upstreams"] == ["https://a.example", "https://b.example weight=2"]
    assert row["upstream"] == "https://a.example, https://b.example weight=2"
    assert (row["retries"], row["cors"]) == (2, ["https://app.example"])
    assert (row["dropped"], row["passed"]) == (["X-Mine"], ["Cookie"])
    said = vault("route", "update", "api", "--upstream", "https://c.example weight=3", "--cors", "", "--retries", "0")
    assert said.stdout.splitlines() == [
        "route api: upstream: https://a.example -> https://c.example",
        "route api: weight: 1 -> 3",
        "route api: others: https://b.example weight=2 -> none",
        "route api: retries: 2 -> 0",
        "route api: cors: https://app.example -> none",
    ]
    [row] = listed(vault("route", "list", "--json"))
    assert (row["upstreams"], row["dropped"]) == (["https://c.example weight=3"], ["X-Mine"])


@pytest.mark.parametrize(
    ("options", "said", "flag"),
    [
        (("--upstream", "http://api.example.com"), "plain http", "--allow-plain-http"),
        (("--upstream", "https://10.0.0.5"), "private", "--allow-private"),
        (("--upstream", "http://localhost:1"), "private", "--allow-private"),
        (("--upstream", "https://x.com", "--upstream", "http://api.example.com"), "plain http", "--allow-plain-http"),
        (("--upstream", "https://x.com", "--upstream", "https://10.0.0.5"), "private", "--allow-private"),
        (("--upstream", "https://x.com weight=0"), "weight of an upstream", None),
        (("--upstream", "https://x.com w=1"), "an --upstream is a URL", None),
        (("--upstream", "https://x.com", "--upstream", "https://x.com/"), "named twice", None),
        (("--upstream", "https://x.com", "--cors", "https://app.example/"), "is no origin", None),
        (("--upstream", "https://x.com", "--retries", "99"), "from 0 to 10 retries", None),
        (("--upstream", "https://x.com", "--pass-header", "Host"), "is not passed on", None),
        (("--upstream", "https://x.com", "--inject", "X-Pin: {pin}"), "too short to be masked", "--allow-weak"),
        (("--upstream", "https://x.com", "--inject", "X: {key"), "brace", None),
        (("--upstream", "https://x.com", "--inject", "X: $KEY"), "$name", None),
        (("--upstream", "https://x.com/bot{key"), "not closed", None),
        (("--upstream", "https://x.com/bot{kye}"), "did you mean 'key'?", None),
        (("--upstream", f"https://x.com/bot{CANARY}"), "write {key} there", None),
        (("--upstream", "https://x.com/?key={key}"), "query", None),
        (("--upstream", "x.com"), "the upstream is no http or https URL, such as https://api.example.com", None),
        (("--upstream", "https://{key}.x.com/"), "upstream", None),
        (("--upstream", "https://x.com", "--query", "key"), "no 'name=text'", None),
        (("--upstream", "https://x.com", "--query", "a=b", "--query", "A=c"), "injected twice", None),
        (("--upstream", "https://x.com", "--basic", "user"), "user:password", None),
        (("--upstream", "https://x.com", "--query", "pin={pin}"), "too short to be masked", "--allow-weak"),
        (("--upstream", "https://x.com", "--credential", "oauth3 x=y"), "kind of credentials 'oauth3'", None),
        (("--upstream", "https://x.com", "--credential", "sigv4 region=r"), "sigv4 needs access_key", None),
        (("--upstream", "https://x.com", "--plugins", "no-such"), "plugin no-such cannot be loaded", None),
        (("--upstream", "https://x.com", "--inject", "Content-Length: 0"), "cannot be injected", None),
        (("--upstream", "https://x.com", "--inject", "X: {kye}"), "did you mean 'key'?", None),
    ],
)
def test_a_route_that_would_fail_or_harm_is_refused_when_it_is_set(
    options: tuple[str, ...], said: str, flag: str | None, full: Inside, inside: Inside
) -> None:
    full("secret", "set", "pin", "--from-file", "-", input="407193")
    assert said in refused(inside("route", "set", "new", *options))
    assert said in refused(inside("route", "update", "api", *options))
    if flag is not None:
        full("route", "set", "new", *options, flag)


def test_a_route_shows_what_it_injects_and_no_text(full: Inside) -> None:
    full("secret", "set", "tg", "--from-file", "-", input=f"123456:{CANARY}-tg")
    full(
        *("route", "set", "all", "--upstream", "https://api.telegram.org/bot{tg}", "--inject", "X-Plain: a-text {key}"),
        *("--query", "key=a-text{key}", "--basic", "{key}:a-text"),
        *("--credential", "header X-Other: a-text {tg}"),
    )
    token = full("token", "issue", "--route", "all").stdout
    known = json.loads(full("route", "show", "all", "--json").stdout)
    assert known["upstream"] == "https://api.telegram.org/bot{tg}"
    assert known["inject"] == ["X-Plain"]
    assert known["credentials"] == ["query key=...{key}", "basic {key}:...", "header X-Other: ...{tg}"]
    assert known["secrets"] == ["key", "tg"]
    assert (len(known["tokens"]), known["tokens"][0] in token) == (1, False)
    shown = full("route", "show", "all").stdout + full("route", "list").stdout + full("route", "list", "--json").stdout
    assert "a-text" not in shown
    assert CANARY not in shown
    assert "credentials\tquery key=...{key}, basic" in shown


def test_a_value_that_a_route_could_not_send_is_refused_by_both(full: Inside, inside: Inside) -> None:
    said = refused(inside("secret", "set", "key", "--from-file", "-", input=f"{CANARY}\n{CANARY}"))
    assert "the route 'api' could not be called with that" in said
    full("secret", "set", "pem", "--from-file", "-", input=f"{CANARY}\n{CANARY}-pem")
    said = refused(inside("route", "update", "api", "--inject", "X-Pem: {pem}"))
    assert "cannot be a header" in said


class Kinds:
    @oo.hookimpl
    def oo_credentials(self) -> list[type]:
        return [Plain]


def test_a_route_of_a_plugins_kind_is_set_where_the_plugin_is_named(full: Inside, inside: Inside) -> None:
    options = ("--credential", "plain x{key}")
    oo.register(Kinds(), "plain")
    try:
        said = refused(inside("route", "update", "api", *options))
        assert "no kind of credentials 'plain' is known" in said
        assert "--plugins" in said
        changed = full("route", "update", "api", *options, "--plugins", "plain").stdout
        assert changed == "route api: credentials: added\n"
        assert "credentials: header, query" in full("plugins", "--gateway", "--plugins", "plain").stdout
    finally:
        oo.unregister("plain")
    assert listed(full("route", "list", "--json"))[0]["credentials"] == ["plain"]
    assert full("route", "update", "api", "--drop", "plain").stdout == "route api: credentials: dropped\n"


def test_a_short_value_of_a_route_is_warned_of(full: Inside, inside: Inside) -> None:
    result = inside("secret", "set", "key", "--from-file", "-", input="short")
    assert result.exit_code == 0
    assert "the route 'api' injects the secret 'key', which is shorter than 8 characters" in result.stderr
