"""`oo chat` takes what is said from an argument or a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

import oo.testing
from oo.testing import BackgroundLoop
from tests.support.command import Inside, Process, refused
from tests.support.terminal import Terminal
from tests.support.upstream import OpenAI, completion

CHAT = "v1/chat/completions"
DONE = b"data: [DONE]\n\n"


def sent(api: OpenAI) -> list[Any]:
    return [(message["role"], message["content"]) for message in json.loads(api.seen[-1]["body"])["messages"]]


@pytest.mark.parametrize("argument", [(), ("-",)])
def test_what_is_said_may_come_from_a_pipe(argument: tuple[str, ...], api: OpenAI, process: Process) -> None:
    assert process("chat", *argument, input="Hello\nthere, käse!\n").stdout == "Hello to you.\n"
    assert sent(api) == [("user", "Hello\nthere, käse!\n")]


def test_a_pipe_may_hold_the_token_and_then_what_is_said(
    api: OpenAI, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    token = os.environ["OO_TOKEN"]
    assert process("chat", input=f"{token}\nHello!", OO_TOKEN="").returncode == 0
    assert sent(api) == [("user", "Hello!")]


def test_the_model_is_told_of_its_part_first(api: OpenAI, inside: Inside) -> None:
    assert inside("chat", "Hello!", "--system", "Be brief.", "--timeout", "9").exit_code == 0
    assert sent(api) == [("system", "Be brief."), ("user", "Hello!")]


def test_nothing_to_say_is_wrong_usage(api: OpenAI, inside: Inside) -> None:
    assert "nothing on standard input" in refused(inside("chat", input=" \n"), 2)
    with Terminal("chat") as terminal:
        assert terminal.end() == 2
    assert "say something" in terminal.shown
    assert api.seen == []


@pytest.mark.parametrize("timeout", ["0", "-1", "x"])
def test_a_timeout_that_is_none_is_wrong_usage(timeout: str, api: OpenAI, inside: Inside) -> None:
    assert "--timeout" in refused(inside("chat", "Hello!", "--timeout", timeout), 2)


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


OTHER: dict[str, Any] = {
    "no choice": {"choices": []},
    "the usage": {"choices": [], "usage": {"total_tokens": 4}},
    "no choices": {"object": "chat.completion.chunk", "choices": None},
    "no error": {"error": None, "choices": [{"index": 0, "delta": {}}]},
    "a role": {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
    "an end": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_chunks_that_hold_no_text_change_nothing(
    other: Any, loud: Loud, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = b"data: " + json.dumps(other).encode() + b"\n\n"
    monkeypatch.setattr(loud, "stream", chunk + said("Hello") + chunk + said(" you.") + chunk + DONE)
    result = inside("chat", "Hello!")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hello you.\n", "")
    assert inside("proxy", CHAT, "-d", '{"stream":true}').stdout_bytes == loud.stream


ERRORS = [
    b'data: {"error": {"message": "too busy"}}\n\n',
    b'event: error\ndata: {"type": "error", "error": {"message": "too busy"}}\n\n',
    b"event: error\ndata: too busy\n\n",
    b'data: {"error": "too busy", "choices": []}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_within_a_chat_ends_it_with_one_line(
    error: bytes, loud: Loud, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loud, "stream", said("Hello") + error + said(" you.") + DONE)
    result = inside("chat", "Hello!")
    assert (result.exit_code, result.stdout) == (1, "Hello\n")
    assert result.stderr.endswith("the stream broke off with an error: too busy\n")
    assert result.stderr.count("\n") == 1
    # Of an API's own stream, all of it is the answer.
    result = inside("proxy", CHAT, "-d", '{"stream":true}')
    assert (result.exit_code, result.stdout_bytes) == (0, loud.stream)


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
