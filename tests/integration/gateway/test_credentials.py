"""Secrets in headers, the query, the upstream's path and Basic, over real connections: where they go, and that none
comes back."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import oo
import oo.testing
from oo.gateway.app import Gateway
from oo.gateway.audit_log import AUDIT_FILE, AuditSettings
from oo.gateway.context import GatewayContext
from oo.gateway.models import Upstream
from oo.testing import BackgroundLoop
from tests.integration.gateway.test_gateway import ask
from tests.integration.gateway.test_plugins import registered
from tests.support.faults import CLOSE, READ, SILENCE, answer, head, nobody, serving
from tests.support.wire import Seen, parsed, recording

KEY = "123456:AAE-the_bot token/of+ours"
USER = "service-user-7"
LocalGateway = oo.testing.LocalGateway


def echoed(raw: bytes) -> bytes:
    """An answer that holds all of a request, in its body and in its headers."""
    seen = parsed(raw)
    fields = [f"X-Echo-{name}: {value}" for name, value in seen.fields]
    fields += [f"Location: http://elsewhere.example{seen.target}", f"X-Target: {seen.target}"]
    return answer(raw, *(field.encode("latin-1") for field in fields))


@contextmanager
def audited(gateway: LocalGateway, home: Path, *plugins: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Another gateway over the same vault that writes an audit, and what is in that."""
    audit = AuditSettings().open(home)
    with BackgroundLoop() as background:
        url = background.enter(Gateway(gateway.vault, audit=audit, plugins=plugins)).url
        yield url, (home / AUDIT_FILE).read_text
    audit.close()


def coded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


CASES: dict[str, tuple[str, dict[str, Any], Callable[[Seen], Any], Any]] = {
    "header": ("", {"inject": {"X-Key": "a {{ {tg}"}}, lambda seen: seen.get("X-Key"), [f"a {{ {KEY}"]),
    "query": ("", {"query": {"key": "{tg}"}}, lambda seen: seen.target, f"/v1/x?a=b&key={quote(KEY, safe='')}"),
    "path": ("/bot{tg}/file", {}, lambda seen: seen.target, f"/bot{quote(KEY, safe=':/+')}/file/v1/x?a=b&key=mine"),
    "basic": ("", {"basic": "{user}:{tg}"}, lambda seen: seen.get("Authorization"), [f"Basic {coded(USER, KEY)}"]),
    "user alone": ("", {"basic": "{tg}:"}, lambda seen: None, None),
    "text": ("", {"credentials": ("header X_Key: {tg}",)}, lambda seen: seen.get("X_Key"), [KEY]),
    "all": (
        "/{tg}",
        {"inject": {"X-Key": "{tg}"}, "query": {"KEY": "{tg}", "u": "{user}"}, "basic": "x:{tg}"},
        lambda seen: seen.target,
        f"/{quote(KEY, safe=':/+')}/v1/x?a=b&KEY={quote(KEY, safe='')}&u={USER}",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_reaches_the_upstream_and_comes_back_masked(gateway: LocalGateway, case: str) -> None:
    path, settings, sent, expected = CASES[case]
    secrets = {"tg": KEY if case != "user alone" else "12345678-the-user", "user": USER}
    for name, value in secrets.items():
        gateway.secret(name, value)
    with recording(echoed) as upstream:
        token = gateway.route("r", upstream.url + path, **settings)
        status, headers, body = ask(gateway.url, "GET", "/api/proxy/v1/x?a=b&key=mine", token, X_Key="the caller's")
        (seen,) = upstream.take()
    assert (status, sent(seen)) == (200, expected)
    assert token not in str(seen)
    # A caller's own of the same name is dropped, and any other stays.
    assert ("key=mine" in seen.target) == ("query" not in settings)
    assert ("the caller's" in str(seen)) == ("X-Key" not in str(settings) and "X_Key" not in str(settings))
    back = str(headers) + body.decode()
    assert "***" in back
    for value in secrets.values():
        for form in (value, quote(value, safe=""), quote(value), coded("", value)[4:-4]):
            assert form not in back
    for user in ("x", USER, secrets["tg"]):
        assert coded(user, KEY) not in back
    assert coded(secrets["tg"], "") not in back


@pytest.mark.parametrize("kind", ["path", "query"])
@pytest.mark.parametrize(
    "fault",
    [
        "nobody",
        [READ, b"nonsense\r\n\r\n", CLOSE],
        [READ, CLOSE],
        [READ, head(b"Content-Length: 9"), CLOSE],
        [READ, SILENCE],
    ],
    ids=["nobody", "nonsense", "closed", "half", "silence"],
)
def test_whatever_fails_no_text_holds_a_secret_of_the_url(
    gateway: LocalGateway, fault: Any, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.secret("tg", KEY)
    kept: list[oo.Request] = []

    class Watch:
        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, oo.Middleware]]:
            return [(oo.Slot.WIRE, watch)]

    async def watch(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        kept.append(request)
        try:
            return await call_next(request)
        except oo.DoubleOError as error:
            logging.getLogger("watch").warning("%r %r %r", request, error, request.context)
            raise

    with serving([] if fault == "nobody" else fault) as server, nobody() as nowhere, registered(Watch(), "watch"):
        url = nowhere if fault == "nobody" else server.url
        settings: dict[str, Any] = {"query": {"key": "{tg}"}} if kind == "query" else {}
        token = gateway.route("r", url + ("/bot{tg}" if kind == "path" else ""), timeout=0.3, **settings)
        with audited(gateway, tmp_path, "watch") as (gateway_url, audit):
            status, headers, body = ask(gateway_url, "GET", "/api/proxy/getMe", token)
            said = audit()
    assert status in (502, 504)
    assert kept
    assert KEY in kept[0].base_url or quote(KEY, safe="") in kept[0].url or kept[0].base_url.endswith("of+ours")
    context = kept[0].context
    assert isinstance(context, GatewayContext)
    told = "".join([str(headers), json.dumps(body), said, caplog.text, str(context.timeline), repr(kept[0])])
    assert json.loads(said.splitlines()[-1])["target"] == "r"
    for form in (KEY, quote(KEY), quote(KEY, safe=""), quote(KEY, safe=":/+"), "the_bot"):
        assert form not in told


def test_a_repeat_of_a_keyed_call_is_told_apart_without_the_secret(gateway: LocalGateway) -> None:
    gateway.secret("tg", KEY)
    with recording(echoed) as upstream:
        token = gateway.route("r", upstream.url + "/bot{tg}")
        first = ask(gateway.url, "POST", "/api/proxy/send", token, b"{}", Idempotency_Key="k")
        gateway.run(gateway.vault.put_secret("tg", "another-token-1"))  # the same call all the same
        again = ask(gateway.url, "POST", "/api/proxy/send", token, b"{}", Idempotency_Key="k")
        assert len(upstream.take()) == 1
    assert (first[0], first[2]) == (again[0], again[2])
    assert b"the_bot" not in again[2]


@pytest.mark.parametrize(
    ("settings", "value", "said"),
    [
        ({"query": {"key": "{tg}"}}, None, "a secret that it injects is missing"),
        ({"inject": {"X": "{tg}"}}, "a\nb-value", "cannot be a header"),
    ],
)
def test_what_cannot_be_sent_is_not(
    gateway: LocalGateway, settings: dict[str, Any], value: str | None, said: str
) -> None:
    gateway.secret("tg", value or KEY)
    with recording(echoed) as upstream:
        token = gateway.route("r", upstream.url, **settings)
        if value is None:

            async def forget(records: Any) -> None:
                for kind in ("head", "secret"):
                    await records.delete(kind, "tg")

            gateway.run(gateway.vault._change(forget))
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert (status, said in str(body)) == (502, True)
        assert upstream.take() == []


@pytest.mark.parametrize(
    ("settings", "outcome", "said"),
    [
        ({"credentials": ("oauth3 key={tg}",)}, "unknown kind", ("the route r", "'oauth3'", "oo serve --plugins")),
        ({"credentials": ("oauth3 key",)}, "unknown kind", ("the route r", "oo serve --plugins")),
        # As a route may have been put before there was such a rule.
        ({"inject": {"X": "{"}}, "bad route", ("the route r", "not closed")),
    ],
)
def test_credentials_that_cannot_be_read_are_the_gateways_own_error(
    gateway: LocalGateway, tmp_path: Path, settings: dict[str, Any], outcome: str, said: tuple[str, ...]
) -> None:
    gateway.secret("tg", KEY)
    with recording(echoed) as upstream:
        token = gateway.route("r", upstream.url, **settings)
        with audited(gateway, tmp_path) as (url, lines):
            status, headers, body = ask(url, "GET", "/api/proxy/x", token)
        assert upstream.take() == []
    assert (status, headers["X-OO-Source"]) == (500, "gateway")
    assert json.loads(lines().splitlines()[-1])["outcome"] == outcome
    error = body["error"]
    assert (error["code"], [each for each in said if each not in error["message"]]) == ("internal_error", [])
    assert "upstream" not in error["message"]


def test_each_of_several_upstreams_has_its_own_secret(gateway: LocalGateway) -> None:
    gateway.secret("tg", KEY)
    gateway.secret("user", USER)
    with nobody() as nowhere, recording(echoed) as upstream:
        others = (Upstream(upstream.url + "/second/{user}"),)
        token = gateway.route("r", nowhere + "/first/{tg}", others=others, weight=1000)
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert [seen.target for seen in upstream.take()] == [f"/second/{USER}/x"]
    assert (status, USER.encode() in body) == (200, False)


def test_a_redirect_of_the_upstreams_own_leads_back_without_its_secret(gateway: LocalGateway) -> None:
    gateway.secret("tg", KEY)

    def redirected(raw: bytes) -> bytes:
        seen = parsed(raw)
        url = f"http://{seen.get('Host')[0]}{seen.target}/next"
        return answer(b"", f"Location: {url}".encode(), status=b"302 Found")

    with recording(redirected) as upstream:
        token = gateway.route("r", upstream.url + "/bot{tg}")
        status, headers, _ = ask(gateway.url, "GET", "/api/proxy/file", token)
    assert (status, headers["Location"]) == (302, "/api/proxy/file/next")


def test_a_route_of_a_vault_from_before_goes_on(gateway: LocalGateway) -> None:
    gateway.secret("tg", KEY)
    with recording(echoed) as upstream:
        token = gateway.route("r", upstream.url, {"X-Key": "{tg}"})

        async def before(records: Any) -> None:
            record = await records.find_json("route", "r")
            for name in ("query", "basic", "credentials", "ca", "cert", "key"):
                del record[name]
            await records.put("route", "r", 0, record)

        gateway.run(gateway.vault._change(before))
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 200
        assert upstream.take()[0].get("X-Key") == [KEY]


class Plain:
    """A plugin with a kind of its own."""

    @oo.hookimpl
    def oo_credentials(self) -> list[type]:
        from tests.unit.gateway.credentials.test_base import Plain

        return [Plain]


def test_a_plugins_kind_works_in_a_gateway_that_names_it(gateway: LocalGateway, tmp_path: Path) -> None:
    gateway.secret("tg", KEY)
    with recording(echoed) as upstream, registered(Plain(), "plain"):
        token = gateway.route("r", upstream.url, credentials=("plain a {tg}",))
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 500
        with audited(gateway, tmp_path, "plain") as (url, _):
            status, _, body = ask(url, "GET", "/api/proxy/x", token)
        assert upstream.take()[0].get("X-Plain") == [f"a {KEY}"]
    assert (status, KEY.encode() in body, b"X-Plain: a ***" in body) == (200, False, True)


class Taken:
    @oo.hookimpl
    def oo_credentials(self) -> list[Any]:
        return [str]


def test_a_plugin_that_adds_what_is_no_kind_keeps_the_gateway_from_starting(gateway: LocalGateway) -> None:
    refused = pytest.raises(ValueError, match="no subclass of Credential")
    with registered(Taken(), "taken"), BackgroundLoop() as background, refused:
        background.enter(Gateway(gateway.vault, plugins=["taken"]))
