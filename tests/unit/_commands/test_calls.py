"""The commands that call a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import oo.testing
from oo.testing import BackgroundLoop
from tests.support.command import Inside, Process, refused
from tests.support.terminal import Terminal
from tests.support.upstream import OpenAI, completion

CANARY = "sk-canary-0123456789"
CHAT = "v1/chat/completions"
DONE = b"data: [DONE]\n\n"
CALLS = (("get",), ("export",), ("run", "true"), ("proxy", "v1/models"), ("chat", "Hello!"))


@pytest.fixture
def gateway(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> oo.testing.LocalGateway:
    """A gateway that every command finds."""
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    return gateway


@pytest.fixture
def secret(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """OO_TOKEN opens a secret."""
    token = gateway.secret("key", CANARY)
    monkeypatch.setenv("OO_TOKEN", token)
    return token


@pytest.fixture
def api(gateway: oo.testing.LocalGateway, openai: OpenAI, monkeypatch: pytest.MonkeyPatch) -> OpenAI:
    """OO_TOKEN opens a route to this API."""
    gateway.secret("key", CANARY)
    monkeypatch.setenv("OO_TOKEN", gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"}))
    return openai


def test_get_in_a_pipe_prints_the_secret_and_not_a_byte_more(secret: str, process: Process) -> None:
    done = process("get")
    assert (done.returncode, done.stdout, done.stderr) == (0, CANARY, "")


def test_get_on_a_terminal_ends_the_line(secret: str) -> None:
    with Terminal("get") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == f"{CANARY}\r\n"


@pytest.mark.parametrize("value", ["käse\n", "two\nlines\n\n", "\x1b[31m", "\r\n"])
def test_get_prints_what_the_secret_is_in_any_locale(
    value: str, gateway: oo.testing.LocalGateway, process: Process
) -> None:
    done = process("get", OO_TOKEN=gateway.secret("key", value), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == value.replace("\r\n", "\n")  # which is how subprocess reads text


def test_a_token_comes_from_a_file_the_environment_or_a_pipe_in_that_order(
    gateway: oo.testing.LocalGateway, process: Process, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    tokens = {name: gateway.secret(name, name) for name in ("file", "environment", "pipe")}
    file.write_text(f"{tokens['file']}\n")
    pipe = f"{tokens['pipe']}\n"
    assert process("get", input=pipe).stdout == "pipe"
    assert process("get", input=pipe, OO_TOKEN="").stdout == "pipe"
    assert process("get", input=pipe, OO_TOKEN=tokens["environment"]).stdout == "environment"
    done = process("get", "--token-file", str(file), input=pipe, OO_TOKEN=tokens["environment"])
    assert done.stdout == "file"


@pytest.mark.parametrize("command", CALLS, ids=" ".join)
def test_without_a_token_a_command_says_where_it_may_be(command: tuple[str, ...], process: Process) -> None:
    assert "set OO_TOKEN, give --token-file, or pipe it in" in refused(process(*command))


def test_a_terminal_is_no_token(gateway: oo.testing.LocalGateway) -> None:
    with Terminal("get") as terminal:
        assert terminal.end() == 1
    assert "set OO_TOKEN" in terminal.shown


def test_a_token_as_an_argument_is_refused_and_not_said_again(secret: str, inside: Inside) -> None:
    for command in ("get", "health"):
        line = refused(inside(command, secret), 2)
        assert secret[3:] not in line
        assert "--help" in line


def test_an_empty_or_missing_token_file_is_one_line(secret: str, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    assert "there is no token" in refused(inside("get", "--token-file", str(tmp_path / "token")))
    assert "does not exist" in refused(inside("get", "--token-file", str(tmp_path / "none")), 2)


@pytest.mark.parametrize("token", ["oo_wrong", "two words", "käse", "a\x1b[31mb"])
def test_a_token_that_opens_nothing_is_one_line_without_it(
    token: str, gateway: oo.testing.LocalGateway, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", token)
    for command in CALLS:
        line = refused(inside(*command))
        assert "token" in line
        assert token not in line


def test_a_gateway_that_is_down_is_one_line(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_TOKEN", "oo_any")
    monkeypatch.setenv("OO_BASE_URL", "http://127.0.0.1:9")
    for command in (("health",), *CALLS):
        assert "connection refused" in refused(inside(*command)), command


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://user:password@localhost"])
def test_a_base_url_that_is_none_is_one_line(url: str, inside: Inside) -> None:
    assert "base URL" in refused(inside("health", "--base-url", url))


def test_health_says_up_wherever_it_is_told_to_look(
    gateway: oo.testing.LocalGateway, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inside("health").stdout == "up\n"
    monkeypatch.setenv("OO_BASE_URL", "http://127.0.0.1:9")
    assert inside("health", "--base-url", gateway.url).stdout == "up\n"


def test_export_writes_a_file_for_nobody_else(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"KEY": CANARY, "MODE": "two words"}))
    result = inside("export")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", ".env: KEY, MODE\n")
    assert (tmp_path / ".env").read_text() == f"KEY={CANARY}\nMODE='two words'\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").write_text("OLD=1")
    assert inside("export", "other", "--append").exit_code == 0
    assert (tmp_path / "other").read_text() == f"OLD=1\nKEY={CANARY}\nMODE='two words'\n"
    assert inside("export", "other").exit_code == 0
    assert (tmp_path / "other").read_text() == f"KEY={CANARY}\nMODE='two words'\n"


def test_export_writes_no_name_that_steers_loading_unless_allowed(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"LD_PRELOAD": "/tmp/x.so"}))
    path = tmp_path / ".env"
    assert "LD_PRELOAD" in refused(inside("export", str(path)))
    assert not path.exists()
    assert inside("export", str(path), "--allow", "LD_PRELOAD").exit_code == 0
    assert path.read_text() == "LD_PRELOAD=/tmp/x.so\n"


def test_export_to_a_place_that_cannot_be_is_one_line(
    gateway: oo.testing.LocalGateway, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", {"KEY": CANARY}))
    for path in (tmp_path, tmp_path / "none" / ".env"):
        line = refused(inside("export", str(path)))
        assert str(path) in line
        assert CANARY not in line


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
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for data, said in (
        ("{", "not JSON"),
        ("", "not JSON"),
        (f"@{tmp_path / 'none'}", "No such file"),
        (f"@{tmp_path}", "Is a directory"),
        (f"@{tmp_path / 'bytes'}", "UTF-8"),
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


def test_proxy_prints_text_as_it_is_in_any_locale(api: OpenAI, process: Process) -> None:
    done = process("proxy", CHAT, "-d", '{"model": "käse \\ud83d"}', PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"] == "käse \ud83d"
    assert "käse" in done.stdout


def test_chat_prints_what_was_said(api: OpenAI, inside: Inside) -> None:
    assert inside("chat", "Hello!", "--model", "m").stdout == "Hello to you.\n"
    sent = json.loads(api.seen[0]["body"])
    assert sent == {"model": "m", "messages": [{"role": "user", "content": "Hello!"}], "stream": True}


class Slow(OpenAI):
    """An API that says one word, and the next when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(said("Hi "))
        assert await asyncio.to_thread(self.go_on.wait, 10)
        await response.write(said("you.") + DONE)
        return response


def said(text: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


def test_chat_prints_as_it_comes(gateway: oo.testing.LocalGateway) -> None:
    with BackgroundLoop() as background:
        slow = Slow()
        background.enter(slow)
        environ = {**os.environ, "OO_TOKEN": gateway.route("slow", slow.url)}
        command = [sys.executable, "-m", "oo.cli", "chat", "Hi"]
        with subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            # Were it held back until the answer is whole, this would wait for what waits for it.
            assert running.stdout.read(3) == b"Hi "
            slow.go_on.set()
            assert running.stdout.read() == b"you.\n"
        assert running.returncode == 0


class Loud(OpenAI):
    """An API whose answer tries to steer the terminal."""

    answer: Any = completion("m", "\x1b[31mred\x9b0m\n\tline \u202eback")
    stream = said("\x1b[31mred\x9b0m\n") + said("\tline \u202eback") + DONE

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if b'"stream":true' in await request.read():
            return web.Response(body=self.stream, content_type="text/event-stream")
        return web.Response(body=json.dumps(self.answer).encode(), content_type="application/json")


@pytest.fixture
def loud(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loud]:
    with BackgroundLoop() as background:
        upstream = Loud()
        background.enter(upstream)
        monkeypatch.setenv("OO_TOKEN", gateway.route("loud", upstream.url))
        yield upstream


def test_what_an_api_says_does_not_steer_the_terminal(loud: Loud) -> None:
    with Terminal("chat", "Hello!") as chat, Terminal("proxy", CHAT) as proxy:
        assert (chat.end(), proxy.end()) == (0, 0)
    assert chat.shown.replace(" " * 8, "\t") == "?[31mred?0m\r\n\tline ?back\r\n"
    assert not {"\x1b", "\x9b", "\u202e"} & set(proxy.shown)
    assert json.loads(proxy.shown) == loud.answer


def test_what_an_api_says_comes_whole_out_of_a_pipe(loud: Loud, process: Process) -> None:
    assert process("chat", "Hello!").stdout == "\x1b[31mred\x9b0m\n\tline \u202eback\n"
    assert json.loads(process("proxy", CHAT).stdout) == loud.answer


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"data: {}\n\n" + DONE, "no chat completion"),
        (b'data: {"choices": []}\n\n' + DONE, "no chat completion"),
        (said(None) + DONE, "no chat completion"),
        (b"{}", "before [DONE]"),
        (b'data: {"error": {"message": "too \xc2\x9b busy"}}\n\n', "too"),
    ],
    ids=["no choices", "empty choices", "no text", "no stream", "an error"],
)
def test_an_answer_that_is_no_chat_is_one_line(
    stream: bytes, message: str, loud: Loud, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loud, "stream", stream)
    assert message in refused(inside("chat", "Hello!"))


def test_a_token_that_comes_back_in_pieces_is_masked(
    loud: Loud, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = os.environ["OO_TOKEN"]
    monkeypatch.setattr(loud, "stream", said(f"<{token[:9]}") + said(f"{token[9:]}>") + DONE)
    assert inside("chat", "Hello!").stdout == "<***>\n"


def test_a_chat_that_breaks_off_shows_what_came_and_then_why(
    loud: Loud, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loud, "stream", said("Hello"))
    result = inside("chat", "Hello!")
    assert (result.exit_code, result.stdout) == (1, "Hello\n")
    assert result.stderr.startswith("oo: ")
    assert result.stderr.count("\n") == 1


def test_plugins_lists_them_and_the_chain(inside: Inside) -> None:
    class Timer:
        async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            return await call_next(request)

    class Plugin:
        @oo.hookimpl
        def oo_middleware(self, client: oo.hooks.ClientInfo) -> list[tuple[oo.Slot, Timer]]:
            return [(oo.Slot.ATTEMPT, Timer())]

    oo.register(Plugin(), "timer")
    try:
        found = json.loads(inside("plugins", "--json").stdout)
        text = inside("plugins").stdout
    finally:
        oo.unregister("timer")
    assert found["plugins"] == [{"plugin": "timer", "distribution": ""}]
    names = [name.rpartition(".")[2] for name in found["chain"]]
    assert names == ["Cache", "Retry", "Timer", "ErrorMapping", "BearerAuth"]
    assert text == f"timer\t\n{' -> '.join(found['chain'])}\n"


def test_plugins_shows_a_gateways_chain_with_those_that_are_named(inside: Inside) -> None:
    class Timer:
        async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            return await call_next(request)

    class Plugin:
        @oo.hookimpl
        def oo_middleware(self, client: oo.hooks.ClientInfo) -> list[tuple[oo.Slot, Timer]]:
            return [(oo.Slot.WIRE, Timer())] if client.role == "gateway" else []

    oo.register(Plugin(), "timer")
    try:
        with_it = json.loads(inside("plugins", "--gateway", "--plugins", "timer", "--json").stdout)
        without = json.loads(inside("plugins", "--gateway", "--json").stdout)
    finally:
        oo.unregister("timer")
    assert (with_it["plugins"], without["plugins"]) == ([{"plugin": "timer", "distribution": ""}], [])
    assert with_it["chain"][:-1] == without["chain"]
    assert with_it["chain"][-1].endswith("Timer")
    assert without["chain"][0] == "oo.gateway.middleware.audit.WriteAudit"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--gateway", "--plugins", "no-such"], 1, "plugin no-such cannot be loaded"),
        (["--plugins", "a"], 2, "--gateway"),
    ],
)
def test_a_plugin_that_is_named_has_to_be_there(inside: Inside, options: list[str], code: int, said: str) -> None:
    result = inside("plugins", *options)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_plugin_that_breaks_is_one_line_beside_the_list(process: Process, tmp_path: Path) -> None:
    about = tmp_path / "oo_broken-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: oo-broken\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[oo]\nbroken = no_such_module\n")
    done = process("plugins", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "oo.middleware" in done.stdout
    assert done.stderr.startswith("oo: plugin broken of distribution oo-broken is left out")
    assert done.stderr.count("\n") == 1
    assert process("plugins", PYTHONPATH=str(tmp_path), OO_PLUGINS="off").stderr == ""
