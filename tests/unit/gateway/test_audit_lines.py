from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from oo.gateway.audit_lines import LABEL, PATH, begin_line, end_line, lost_line, refusal, shared_line, shown
from oo.gateway.context import GatewayContext

KEYS = {
    *("time", "event", "request_id", "token_id", "label", "operation", "kind", "target", "outcome", "status", "ms"),
    *("method", "path", "peer", "forwarded_for", "bytes_in", "bytes_out", "upstream", "upstream_request_id"),
}
TOKEN = f"oo_{'Ab1-_' * 9}wxyz"  # of the form of new_token()


def context(**attributes: Any) -> GatewayContext:
    made = GatewayContext()
    made.started = time.monotonic()
    given = {"token_id": "t1", "label": "the build", "endpoint": "proxy", "kind": "route", "target": "r"}
    given |= {"method": "POST", "path": "/api/proxy/v1/x", "peer": "127.0.0.1"}
    for name, value in {**given, **attributes}.items():
        setattr(made, name, value)
    return made


def parsed(line: str) -> dict[str, Any]:
    assert line.endswith("\n")
    assert line.count("\n") == 1
    found: dict[str, Any] = json.loads(line)
    assert set(found) - {"count"} == KEYS
    return found


def test_both_lines_of_a_call_hold_the_same_keys_and_one_request_id() -> None:
    call = context(forwarded_for="10.0.0.1")
    call.bytes_in, call.upstream = 3, "https://b.test"
    began, ended = parsed(begin_line(call)), parsed(end_line(call, "allowed", 200, 5, "theirs"))
    assert 0 <= began.pop("ms") <= ended.pop("ms") < 5000
    assert began.pop("time") <= ended.pop("time")
    same = {
        "request_id": call.id,
        "token_id": "t1",
        "label": "the build",
        "operation": "proxy",
        "kind": "route",
        "target": "r",
        "method": "POST",
        "path": "/api/proxy/v1/x",
        "peer": "127.0.0.1",
        "forwarded_for": "10.0.0.1",
    }
    nothing = {"status": None, "bytes_in": None, "bytes_out": None, "upstream": None, "upstream_request_id": None}
    assert began == {**same, **nothing, "event": "begin", "outcome": "begun"}
    sizes = {"bytes_in": 3, "bytes_out": 5, "upstream": "https://b.test", "upstream_request_id": "theirs"}
    assert ended == {**same, **sizes, "event": "end", "outcome": "allowed", "status": 200}


def test_a_call_that_opened_nothing_has_no_thing() -> None:
    line = parsed(end_line(context(target=None, label="", peer=""), "revoked", 401, 0, None))
    assert (line["kind"], line["target"], line["label"], line["peer"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("/a b", "/a b"),
        ('/"\\\n', '/"\\\n'),
        ("/\udc80é", "/\udc80é"),
        ("/" + "x" * PATH, "/" + "x" * (PATH - 4) + "..."),
        (f"/v1/{TOKEN}/x", "/v1/oo_***/x"),
        (f"/{TOKEN}{TOKEN}", "/oo_***"),
        (f"/{'x' * (PATH - 20)}{TOKEN}", f"/{'x' * (PATH - 20)}oo_***"),
        (f"/{quote(quote('/')) * 3}%6fo{TOKEN[2:]}", "////oo_***"),
        (f"/%25%36%66o{TOKEN[2:]}?", "/oo_***?"),
        (f"/%2525252525256fo{TOKEN[2:]}", "/oo_***"),
        (f"/{TOKEN}/%6Fo{TOKEN[2:]}", "/oo_***/oo_***"),
        ("/100%/oo_short", "/100%/oo_short"),
        ("http://user:password@host/path", "/path"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_a_path_is_json_of_bounded_length_without_a_token(written: str, held: str) -> None:
    line = begin_line(context(path=written))
    assert parsed(line)["path"] == held
    assert TOKEN[3:40] not in line


@pytest.mark.parametrize("name", ["label", "path", "method"])
def test_whatever_an_owner_or_a_caller_writes_a_line_is_short(name: str) -> None:
    line = begin_line(context(**{name: "/" + "\x01é\U0001f600" * 10_000}))
    parsed(line)
    assert len(line) < 12 * PATH + 1000


def test_a_label_is_cut_and_holds_no_token() -> None:
    assert parsed(begin_line(context(label="l" * 999)))["label"] == "l" * (LABEL - 3) + "..."
    assert parsed(begin_line(context(label=f"for {TOKEN}")))["label"] == "for oo_***"


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        ("req_1-a.b", "req_1-a.b"),
        (f"req-{TOKEN}", "req-oo_***"),
        ("50%", "50%"),
        ("", None),
        ("two words", None),
        ('"', None),
        ("a\\b", None),
        ("x" * 129, None),
        ("é", None),
    ],
)
def test_an_upstreams_id_is_one_word(sent: str, held: str | None) -> None:
    assert parsed(end_line(context(), "allowed", 200, 0, sent))["upstream_request_id"] == held


def test_an_outcome_is_json_whatever_a_plugin_says() -> None:
    assert parsed(end_line(context(), 'a "quoted"\n', 400, 0, None))["outcome"] == 'a "quoted"\n'


def test_lines_that_stand_for_many_say_how_many() -> None:
    shared = parsed(shared_line(refusal(context(target=None), "unknown", 401), 7))
    assert (shared["event"], shared["token_id"], shared["outcome"], shared["status"]) == ("end", "t1", "unknown", 401)
    assert (shared["count"], shared["request_id"], shared["path"], shared["ms"]) == (7, None, None, None)
    lost = parsed(lost_line(3))
    assert (lost["event"], lost["outcome"], lost["count"]) == ("lost", "lost", 3)


def test_a_text_without_an_escape_is_shown_as_it_is() -> None:
    assert shown("plain", 5) == "plain"
    assert shown("plainly", 5) == "pl..."


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("/api/secret", "/api/secret"),
        ("/api/proxy/v1/x", "/api/proxy/***"),
        ("/x", None),
        ("/api/secretx", None),
        ("", None),
    ],
)
def test_of_a_stranger_the_gateways_place_alone_is_told(path: str, held: str | None) -> None:
    stranger = context(path=path)
    stranger.token_id = None
    assert parsed(begin_line(stranger))["path"] == held
