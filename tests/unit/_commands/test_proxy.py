"""`oo proxy` prints what came, as it came."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

import oo.testing
from tests.support.command import CANARY, Inside, Process, refused
from tests.support.terminal import Terminal
from tests.support.upstream import OpenAI, Upstream
from tests.support.waiting import PATIENCE

BODIES = {
    "text": ("text/plain", b"hello\n"),
    "latin": ("text/plain; charset=latin-1", b"k\xe4se"),
    "csv": ("text/csv", b"a,b\r\n1,2\r\n"),
    "numbers": ("application/json", b'{"a":12345678901234567890123,"b":0.10000000000000000001,"c":1e400,"d":1.50}'),
    "spaces": ("application/json", b'{ "b" : 1,\n  "a": [ ] }'),
    "broken": ("application/json", b'{"a": '),
    "bytes": ("application/octet-stream", bytes(range(256))),
    "empty": ("text/plain", b""),
    "loud": ("text/plain", b"\x1b[31mred\x9b\xe2\x80\xae"),
    "deep": ("application/json", b"[" * 100_000 + b"]" * 100_000),
}

CHAT = "v1/chat/completions"


class Plain(Upstream):
    """An API that answers with a body of each kind, or with what it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(dict(request.headers))
        name = request.path.strip("/")
        if name == "failing":
            return web.Response(status=404, text="no such thing")
        kind, body = BODIES[name]
        return web.Response(body=body, headers={"Content-Type": kind, "X-One": "1"})


@pytest.fixture
def plain(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    with oo.testing.BackgroundLoop() as background:
        upstream = background.enter(Plain())
        monkeypatch.setenv("OO_BASE_URL", gateway.url)
        monkeypatch.setenv("OO_TOKEN", gateway.route("plain", upstream.url))
        yield upstream


@pytest.mark.parametrize("name", BODIES)
def test_a_pipe_and_a_file_hold_what_came_and_nothing_else(
    name: str, plain: Plain, inside: Inside, tmp_path: Path
) -> None:
    result = inside("proxy", name)
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, BODIES[name][1], "")
    result = inside("proxy", name, "-o", str(tmp_path / "file"))
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "file").read_bytes() == BODIES[name][1]
    assert inside("proxy", name, "-o", "-").stdout_bytes == BODIES[name][1]


def test_status_and_headers_stand_before_the_body_where_asked(plain: Plain, inside: Inside) -> None:
    head, _, body = inside("proxy", "csv", "-i").stdout_bytes.partition(b"\n\n")
    assert head.startswith(b"HTTP/1.1 200\n")
    assert b"x-one: 1" in head.lower()
    assert body == BODIES["csv"][1]


def test_headers_are_sent(plain: Plain, inside: Inside) -> None:
    assert inside("proxy", "text", "-H", "X-Team: blue", "-H", "Accept:text/plain").exit_code == 0
    assert (plain.seen[0]["X-Team"], plain.seen[0]["Accept"]) == ("blue", "text/plain")
    line = refused(inside("proxy", "text", "-H", "sk-canary-0123456789"))
    assert "is no 'Name: text'" in line
    assert "canary" not in line


def test_a_terminal_is_shown_text_that_it_does_not_obey(plain: Plain) -> None:
    with Terminal("proxy", "text") as text, Terminal("proxy", "loud") as loud, Terminal("proxy", "csv") as csv:
        assert (text.end(), loud.end(), csv.end()) == (0, 0, 0)
    assert text.shown == "hello\r\n"
    assert loud.shown == "?[31mred\ufffd?\r\n"
    assert csv.shown == "a,b\r\n1,2\r\n"


def test_a_terminal_is_shown_no_bytes(plain: Plain) -> None:
    with Terminal("proxy", "bytes") as terminal:
        assert terminal.end() == 1
    assert "give -o FILE" in terminal.shown


BOM = b"\xef\xbb\xbf"
# The header that was given, the payload, and what is sent.
SENT: dict[str, tuple[list[str], bytes, bytes]] = {
    "numbers": ([], BODIES["numbers"][1], BODIES["numbers"][1]),
    "white space": ([], b' { "b" : 1 }\n', b' { "b" : 1 }\n'),
    "letters": ([], '"käse"'.encode(), '"käse"'.encode()),
    "half a character": ([], rb'"\ud83d"', rb'"\ud83d"'),
    "a digit too many for Python": ([], b"1" * 5000, b"1" * 5000),
    "a mark of byte order": ([], BOM + b"[1.50]", b"[1.50]"),
    "JSON that says so": (["-H", "content-type: application/json; charset=utf-8"], b"[1.50]", b"[1.50]"),
    "JSON of another name": (["-H", "Content-Type: application/problem+json"], b"[1.50]", b"[1.50]"),
    "text": (["-H", "Content-Type: text/plain"], b"{ hello", b"{ hello"),
    "lines of JSON": (["-H", "content-type:application/x-ndjson"], b"{}\n{}\n", b"{}\n{}\n"),
    "a mark of a text's own": (["-H", "Content-Type: text/csv"], BOM + b"a,b", BOM + b"a,b"),
    "no bytes": (["-H", "Content-Type: text/plain"], b"", b""),
}


@pytest.mark.parametrize(("options", "given", "sent"), SENT.values(), ids=SENT)
def test_a_payload_is_sent_as_it_was_given(
    options: list[str], given: bytes, sent: bytes, api: OpenAI, inside: Inside, tmp_path: Path
) -> None:
    (tmp_path / "payload").write_bytes(given)
    for data in (f"@{tmp_path / 'payload'}", os.fsdecode(given)):
        assert inside("proxy", "v1/upload", *options, "-d", data).exit_code == 0
    assert [(each["method"], each["body"]) for each in api.seen] == [("POST", sent)] * 2
    kind = options[1].partition(":")[2].strip() if options else "application/json"
    assert [each["headers"]["Content-Type"] for each in api.seen] == [kind] * 2


def test_bytes_come_from_a_pipe_and_are_sent_as_they_are(api: OpenAI) -> None:
    picture = bytes(range(256)) * 2048
    options = ["-X", "PUT", "-H", "Content-Type: image/x", "-d", "@-"]
    command = [sys.executable, "-m", "oo.cli", "proxy", "v1/upload", *options]
    subprocess.run(command, input=picture, check=True, capture_output=True, timeout=PATIENCE)
    assert [(each["method"], each["body"]) for each in api.seen] == [("PUT", picture)]


def test_text_and_bytes_are_asked_for_whatever_else_is_sent(plain: Plain, inside: Inside) -> None:
    for options in ([], ["-H", "X-Team: blue"], ["-d", "{}"], ["-H", "accept: text/csv"]):
        assert inside("proxy", "text", *options).exit_code == 0
    assert [seen["Accept"] for seen in plain.seen] == ["*/*"] * 3 + ["text/csv"]


def test_an_error_of_the_api_is_one_line_and_no_file(plain: Plain, inside: Inside, tmp_path: Path) -> None:
    assert "404" in refused(inside("proxy", "failing", "-o", str(tmp_path / "file")))
    assert not (tmp_path / "file").exists()


def test_a_reader_that_has_enough_is_no_error_of_ours(plain: Plain, process: Process) -> None:
    assert json.loads(process("proxy", "spaces").stdout) == {"b": 1, "a": []}


def test_proxy_gets_without_a_payload_and_posts_with_one(api: OpenAI, inside: Inside) -> None:
    models = inside("proxy", "v1/models")
    assert json.loads(models.stdout)["data"][0]["id"] == "gpt-4o-mini"
    answer = inside("proxy", CHAT, "-d", '{"model": "m"}')
    assert json.loads(answer.stdout)["model"] == "m"
    assert [(each["method"], each["path"]) for each in api.seen] == [("GET", "/v1/models"), ("POST", f"/{CHAT}")]
    assert api.keys == [f"Bearer {CANARY}"] * 2


@pytest.mark.parametrize(("given", "sent"), [("PUT", "PUT"), ("delete", "DELETE")])
def test_proxy_takes_a_method(given: str, sent: str, api: OpenAI, inside: Inside) -> None:
    assert inside("proxy", "echo", "-X", given, "-d", "[1]").exit_code == 0
    assert (api.seen[0]["method"], api.seen[0]["body"]) == (sent, b"[1]")


def test_proxy_takes_its_payload_from_a_file_or_a_pipe(api: OpenAI, process: Process, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"model": "käse"}')
    assert process("proxy", CHAT, "-d", f"@{tmp_path / 'payload.json'}").returncode == 0
    assert process("proxy", CHAT, "-d", "@-", input='{"model": "käse"}').returncode == 0
    assert [json.loads(each["body"]) for each in api.seen] == [{"model": "käse"}] * 2


def test_a_pipe_may_hold_the_token_and_then_the_payload(
    api: OpenAI, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = os.environ["OO_TOKEN"]
    monkeypatch.delenv("OO_TOKEN")
    assert process("proxy", CHAT, "-d", "@-", input=f'{token}\n{{"model": "m"}}').returncode == 0
    assert json.loads(api.seen[0]["body"]) == {"model": "m"}


def test_a_payload_that_is_none_is_not_sent(api: OpenAI, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for data, said in (
        ("{", "not JSON; what else it is, -H"),
        ("", "not JSON"),
        ("NaN", "not JSON"),
        ("[" * 50_000, "too deeply"),
        (f"@{tmp_path / 'none'}", "No such file"),
        (f"@{tmp_path}", "Is a directory"),
        (f"@{tmp_path / 'bytes'}", "not JSON; what else it is, -H"),
    ):
        assert said in refused(inside("proxy", CHAT, "-d", data))
    assert api.seen == []


@pytest.mark.parametrize("path", ["../admin", "v1/%2e%2e/admin", "//host/x", "https://host/x", "v1/\udcff"])
def test_a_path_that_could_leave_the_route_is_not_sent(path: str, api: OpenAI, inside: Inside) -> None:
    assert "refused before it was sent" in refused(inside("proxy", path))
    assert api.seen == []


def test_the_apis_own_error_is_one_line(api: OpenAI, inside: Inside) -> None:
    line = refused(inside("proxy", "v1/no/such/thing", "-d", "{}"))
    assert "404" in line
    assert "Unknown request URL" in line


def test_proxy_prints_an_answer_as_it_came_in_any_locale(api: OpenAI, process: Process) -> None:
    done = process("proxy", CHAT, "-d", '{"model": "käse \\ud83d"}', PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"] == "käse \ud83d"
    assert done.stdout.endswith("}")  # no newline of ours
