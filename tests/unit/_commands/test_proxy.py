"""`oo proxy` prints what came, as it came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

import oo.testing
from tests.support.command import Inside, Process, refused
from tests.support.terminal import Terminal

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


class Plain:
    """An API that answers with a body of each kind, or with what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[dict[str, str]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(dict(request.headers))
        name = request.path.strip("/")
        if name == "failing":
            return web.Response(status=404, text="no such thing")
        kind, body = BODIES[name]
        return web.Response(body=body, headers={"Content-Type": kind, "X-One": "1"})

    async def __aenter__(self) -> Plain:
        self._runner = web.ServerRunner(web.Server(self.handle))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()


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


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"a": 1e400}', "1e400"),
        ('{"a": 0.10000000000000000001}', "0.1000"),
        ("[" * 50_000, "too deeply"),
    ],
)
def test_a_payload_that_would_be_sent_as_another_is_not_sent(
    data: str, said: str, plain: Plain, inside: Inside
) -> None:
    assert said in refused(inside("proxy", "text", "-d", data))
    assert plain.seen == []


def test_numbers_and_marks_of_a_payload_are_sent_as_they_are(plain: Plain, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(b'\xef\xbb\xbf{"a": 12345678901234567890123, "b": 1.50}')
    assert inside("proxy", "text", "-d", f"@{tmp_path / 'payload'}").exit_code == 0


def test_an_error_of_the_api_is_one_line_and_no_file(plain: Plain, inside: Inside, tmp_path: Path) -> None:
    assert "404" in refused(inside("proxy", "failing", "-o", str(tmp_path / "file")))
    assert not (tmp_path / "file").exists()


def test_a_reader_that_has_enough_is_no_error_of_ours(plain: Plain, process: Process) -> None:
    assert json.loads(process("proxy", "spaces").stdout) == {"b": 1, "a": []}
