"""`oo chat` takes what is said from an argument or a pipe."""

from __future__ import annotations

import json
from typing import Any

import pytest

import oo.testing
from tests.support.command import Inside, Process, refused
from tests.support.terminal import Terminal
from tests.support.upstream import OpenAI


@pytest.fixture
def api(gateway: oo.testing.LocalGateway, openai: OpenAI, monkeypatch: pytest.MonkeyPatch) -> OpenAI:
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    monkeypatch.setenv("OO_TOKEN", gateway.route("openai", openai.url))
    return openai


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
