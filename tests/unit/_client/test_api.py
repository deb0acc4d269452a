"""The functions of `oo`: the calls that they make, with which signature, and over which client."""

from __future__ import annotations

import gc
import inspect
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import oo
from oo._client import api as _functions
from tests.support.faults import FaultServer, answer, nobody, serving
from tests.support.fresh import ROOT
from tests.support.waiting import PATIENCE

TOKEN = "a-token-for-functions"


def talk(request: bytes) -> bytes:
    """The server's side: who it was told of, and by what name it was called."""
    line, _, rest = request.partition(b"\r\n")
    method, path, _ = line.split()
    token = rest.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
    host = rest.lower().partition(b"host: ")[2].partition(b"\r\n")[0].decode()
    body = request.partition(b"\r\n\r\n")[2]
    if b'"stream":true' in body:
        return answer(b'data: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n', b"Content-Type: text/event-stream")
    told = {"method": method.decode(), "path": path.decode(), "payload": json.loads(body) if body else None}
    return answer(
        json.dumps({"value": f"{token} at {host}", "secrets": {"PLACE_OF_THE_TEST": host}, "told": told}).encode()
    )


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(reply=talk) as running:
        yield running


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, so that what waits for itself is a failure; 3.12 warns of a fork beside a thread."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)


def told(method: str, path: str, payload: Any) -> dict[str, Any]:
    return {"method": method, "path": f"/api/proxy/{path}", "payload": payload}


# Each with the base URL where its signature has it.
CALLS: dict[str, Callable[..., Any]] = {
    "get_secret": lambda url, **limits: oo.get_secret(TOKEN, url, **limits),
    "get_env": lambda url, **limits: oo.get_env(TOKEN, url, **limits),
    "load_env": lambda url, **limits: oo.load_env(TOKEN, url, **limits),
    "export_env": lambda url, **limits: oo.export_env(TOKEN, "exported.env", True, url, **limits),
    "proxy": lambda url, **limits: oo.proxy("v1/x", TOKEN, "PUT", {"a": 1}, None, url, **limits),
    "chat": lambda url, **limits: oo.chat(TOKEN, [], "m", url, **limits),
    "chat, streamed": lambda url, **limits: list(oo.chat(TOKEN, [], "m", url, stream=True, **limits)),
    "embed": lambda url, **limits: oo.embed(TOKEN, ["a"], "m", url, **limits),
    "image": lambda url, **limits: oo.image(TOKEN, "a tree", "m", 2, "1x1", url, **limits),
    "health": lambda url, **limits: oo.health(url, **limits),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is loaded and exported leaves no trace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACE_OF_THE_TEST", "before")


def test_each_function_makes_its_call(server: FaultServer) -> None:
    here = server.url.removeprefix("http://")
    assert CALLS["get_secret"](server.url) == f"{TOKEN} at {here}"
    assert CALLS["get_env"](server.url) == {"PLACE_OF_THE_TEST": here}
    assert os.environ["PLACE_OF_THE_TEST"] == "before"
    assert CALLS["load_env"](server.url) == {"PLACE_OF_THE_TEST": here}
    assert os.environ["PLACE_OF_THE_TEST"] == here
    assert CALLS["export_env"](server.url) == {"PLACE_OF_THE_TEST": here}
    assert here in Path("exported.env").read_text()
    assert CALLS["proxy"](server.url)["told"] == told("PUT", "v1/x", {"a": 1})
    assert CALLS["chat"](server.url)["told"] == told("POST", "v1/chat/completions", {"model": "m", "messages": []})
    assert CALLS["chat, streamed"](server.url) == [{"n": 1}, {"n": 2}]
    assert CALLS["embed"](server.url)["told"] == told("POST", "v1/embeddings", {"model": "m", "input": ["a"]})
    assert CALLS["image"](server.url)["told"] == told(
        "POST", "v1/images/generations", {"model": "m", "prompt": "a tree", "n": 2, "size": "1x1"}
    )
    assert CALLS["health"](server.url) is True
    assert server.connections == 1


@each_call
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_each_function_takes_limits_of_its_own(server: FaultServer, call: Callable[..., Any], limit: str) -> None:
    call(server.url, **{limit: PATIENCE})
    with pytest.raises(oo.DoubleOError, match=f"{limit} must be"):
        call(server.url, **{limit: 0})
    assert len(server.requests) == 1


def test_what_else_is_given_joins_the_payload(server: FaultServer) -> None:
    sent = [
        oo.chat(TOKEN, [{"role": "user"}], base_url=server.url, temperature=0.5),
        oo.embed(TOKEN, ["a"], base_url=server.url, dimensions=3),
        oo.image(TOKEN, "a tree", base_url=server.url, quality="hd"),
    ]
    assert [each["told"]["payload"] for each in sent] == [
        {"model": "gpt-4o-mini", "messages": [{"role": "user"}], "temperature": 0.5},
        {"model": "text-embedding-3-small", "input": ["a"], "dimensions": 3},
        {"model": "dall-e-3", "prompt": "a tree", "n": 1, "size": "1024x1024", "quality": "hd"},
    ]


@each_call
def test_one_calls_base_url_is_not_the_nexts(
    monkeypatch: pytest.MonkeyPatch, server: FaultServer, call: Callable[[Any], Any]
) -> None:
    with serving(reply=talk) as other, serving(reply=talk) as usual:
        monkeypatch.setenv("OO_BASE_URL", usual.url)
        for url in (server.url, None, other.url, None, server.url):
            call(url)
        assert [len(each.requests) for each in (server, other, usual)] == [2, 1, 2]


@each_call
def test_the_environments_base_url_is_read_at_each_call(
    monkeypatch: pytest.MonkeyPatch, server: FaultServer, call: Callable[[Any], Any]
) -> None:
    with serving(reply=talk) as other:
        for each in (server, other, server):
            monkeypatch.setenv("OO_BASE_URL", each.url)
            call(None)
        assert [len(each.requests) for each in (server, other)] == [2, 1]


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_base_url_the_call_goes_to_where_the_gateway_listens(
    monkeypatch: pytest.MonkeyPatch, setting: str | None
) -> None:
    if setting is not None:
        monkeypatch.setenv("OO_BASE_URL", setting)
    plugin = Told()
    oo.register(plugin, "told")
    try:
        _functions._client(None, "secret")
    finally:
        oo.unregister("told")
    assert [client.base_url for client in plugin.told] == ["http://127.0.0.1:3001"]


class Told:
    """A plugin that keeps which clients were made."""

    def __init__(self) -> None:
        self.told: list[oo.ClientInfo] = []

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> Any:
        self.told.append(client)
        return []


ERRORS = {"get_secret": oo.SecretError, "get_env": oo.EnvError, "load_env": oo.EnvError, "export_env": oo.EnvError}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("url", ["", "ftp://localhost", "http://user:of-somebody@localhost", 3, ["http://localhost"]])
def test_a_base_url_that_is_none_is_the_operations_error(name: str, url: Any) -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        CALLS[name](url)
    assert type(caught.value) is ERRORS.get(name, oo.ProxyError)
    assert caught.value.reason == "argument"
    assert "of-somebody" not in str(caught.value)


@each_call
def test_nobody_there_is_the_operations_error(call: Callable[[Any], Any]) -> None:
    with nobody() as url, pytest.raises(oo.DoubleOError) as caught:
        call(url)
    assert caught.value.reason == "connection"


def test_answers_are_shared_with_clients_and_forgotten_together(server: FaultServer) -> None:
    with oo.Client(server.url) as client:
        for token in ("token-1", "token-2"):
            assert oo.get_secret(token, server.url, 60) == client.get_secret(token, 60)
            oo.get_env(token, base_url=server.url, cache_ttl=60)
        assert len(server.requests) == 4
        oo.invalidate_cache("token-1")
        for token in ("token-1", "token-2"):
            client.get_secret(token, 60)
            oo.get_env(token, server.url, 60)
        assert len(server.requests) == 6
        oo.invalidate_cache()
        for token in ("token-1", "token-2"):
            oo.get_secret(token, server.url, 60)
        assert len(server.requests) == 8


def test_64_base_urls_keep_their_connections_and_no_more(server: FaultServer) -> None:
    urls = [f"{server.url}/{n}" for n in range(70)]
    for url in urls:
        oo.get_secret(TOKEN, url)
    gc.collect()
    assert server.until(left=6)
    assert (server.connections, server.left, len(_functions._clients)) == (70, 6, 64)
    for url in urls[6:]:
        oo.get_secret(TOKEN, url)
    assert server.connections == 70
    oo.get_secret(TOKEN, urls[0])
    assert server.connections == 71


def test_threads_that_come_at_once_share_one_client(server: FaultServer) -> None:
    start, answers = threading.Barrier(32), []

    def call(number: int) -> None:
        start.wait(PATIENCE)
        for turn in range(5):
            token = f"token-{number}-{turn}"
            answers.append(oo.get_secret(token, server.url).startswith(f"{token} at"))

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [True] * 160
    assert len(_functions._clients) == 1
    # Each thread has had one connection at most: none has gone with a client that was dropped.
    assert server.connections <= 32


NESTED = """
import sys
import oo

url = sys.argv[1]

class Inner:
    @oo.hookimpl
    def oo_middleware(self, client):
        print("inner", client.base_url[len(url):])
        return []

class Outer:
    begun = False

    @oo.hookimpl
    def oo_middleware(self, client):
        if not self.begun:
            self.begun = True
            oo.register(Inner(), "inner")
            oo.get_secret("of-the-plugin", url + "/nested")
        return []

oo.register(Outer(), "outer")
for _ in range(3):
    oo.get_secret("a-token", url)
"""


def test_a_plugin_may_use_the_functions_while_their_client_is_made(server: FaultServer) -> None:
    done = python(NESTED, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    # The client that was being made has no part in the new plugin, and so serves one call alone.
    assert done.stdout.splitlines() == ["inner /nested", "inner "]
    assert len(server.requests) == 4


def test_the_warning_of_plain_http_points_at_the_callers_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _functions._client("http://gateway.example", "secret")
        oo.Client("http://other.example").close()
        oo.AsyncClient("http://third.example")
    assert [warning.filename for warning in caught] == [__file__] * 3
    assert "gateway.example is plain http" in str(caught[0].message)


FORK = """
import json, os, signal, sys, threading
import oo
from oo import _plugins
from oo._client import api as _functions

url, when = sys.argv[1:]
held, release = threading.Event(), threading.Event()

def hold():
    with _plugins.plugins._lock:  # as while plugins are looked for
        held.set()
        release.wait(60)

answers = []
if when == "warm":
    answers.append(oo.get_secret("before", url))
else:
    oo.Client(plugins=False)  # loads what a client needs
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    os.write(writer, json.dumps([oo.get_secret(f"child-{n}", url) for n in range(20)]).encode())
    os._exit(0)
release.set()
answers += [oo.get_secret(f"parent-{n}", url) for n in range(20)]
os.close(writer)
_, status = os.waitpid(pid, 0)
with open(reader) as pipe:
    print(json.dumps([answers, json.loads(pipe.read() or "null"), status]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("when", ["warm", "while a thread looks for plugins"])
def test_both_processes_call_on_after_a_fork(server: FaultServer, when: str) -> None:
    done = python(FORK, server.url, when)
    assert (done.returncode, done.stderr) == (0, "")
    here = server.url.removeprefix("http://")
    before = [f"before at {here}"] if when == "warm" else []
    assert json.loads(done.stdout) == [
        [*before, *(f"parent-{n} at {here}" for n in range(20))],
        [f"child-{n} at {here}" for n in range(20)],
        0,
    ]
    assert server.connections == 2


# What a caller may rely on: names, positions and defaults. What is left out may only be given by keyword.
FUNCTIONS = {
    # Not by keyword alone: such defaults would make a cached answer a seventh slower.
    "get_secret": "token, base_url=None, cache_ttl=None, timeout=None, deadline=None",
    "get_env": "token, base_url=None, cache_ttl=None, timeout=None, deadline=None",
    "load_env": "token, base_url=None, cache_ttl=None",
    "export_env": "token, path='.env', overwrite=True, base_url=None, cache_ttl=None",
    "proxy": "path, token, method='POST', payload=None, headers=None, base_url=None",
    "chat": "token, messages, model='gpt-4o-mini', base_url=None, **kwargs",
    "embed": "token, texts, model='text-embedding-3-small', base_url=None, **kwargs",
    "image": "token, prompt, model='dall-e-3', n=1, size='1024x1024', base_url=None, **kwargs",
    "health": "base_url=None",
    "invalidate_cache": "token=None",
}
METHODS = {
    "__init__": "self, base_url=None, timeout=30, retries=0, backoff_factor=0.5",
    "get_secret": "self, token, cache_ttl=None, timeout=None, deadline=None",
    "get_env": "self, token, cache_ttl=None, timeout=None, deadline=None",
    "load_env": "self, token, cache_ttl=None",
    "export_env": "self, token, path='.env', overwrite=True, cache_ttl=None",
    "proxy": "self, path, token, method='POST', payload=None, headers=None",
    "chat_completion": "self, token, messages, model='gpt-4o-mini', **kwargs",
    "embed": "self, token, texts, model='text-embedding-3-small', **kwargs",
    "image": "self, token, prompt, model='dall-e-3', n=1, size='1024x1024', **kwargs",
    "health": "self",
    "with_options": "self",
    "invalidate_cache": "self, token=None",
    "close": "self",
}
OPTIONAL = {
    "__init__": "deadline middleware plugins cache logging transport max_response_bytes verify cert max_connections",
    "load_env": "allow only timeout deadline",
    "export_env": "allow only format timeout deadline",
    "proxy": "data files params timeout deadline",
    "chat": "stream timeout deadline",
    "chat_completion": "stream timeout deadline",
    "embed": "timeout deadline",
    "image": "timeout deadline",
    "health": "timeout deadline",
    "with_options": "timeout deadline retries",
}


def signature(function: Any) -> tuple[str, list[str]]:
    """Its parameters, and those of them that may only be given by keyword, all of which have a default."""
    parameters = inspect.signature(function).parameters.values()
    by_keyword = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    assert all(each.default is not each.empty for each in by_keyword)
    rest = [each.replace(annotation=each.empty, default=each.default) for each in parameters if each not in by_keyword]
    return ", ".join(map(str, rest)), [each.name for each in by_keyword]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signature_of_a_function(name: str) -> None:
    assert signature(getattr(oo, name)) == (FUNCTIONS[name], OPTIONAL.get(name, "").split())


@pytest.mark.parametrize("kind", [oo.Client, oo.AsyncClient])
@pytest.mark.parametrize("name", METHODS)
def test_the_signature_of_a_method_is_the_same_in_both_worlds(kind: type, name: str) -> None:
    method = getattr(kind, name)
    assert signature(method) == (METHODS[name], OPTIONAL.get(name, "").split())
    assert inspect.iscoroutinefunction(method) is (kind is oo.AsyncClient and name not in ("__init__", "with_options"))


def test_both_clients_have_the_same_methods() -> None:
    shown = [
        {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}
        for kind in (oo.Client, oo.AsyncClient)
    ]
    assert shown[0] == shown[1] == {*METHODS, "send", "stream"} - {"__init__"}
    for name, more in (("send", ["check"]), ("stream", [])):
        both = [signature(getattr(kind, name)) for kind in (oo.Client, oo.AsyncClient)]
        assert both == [(METHODS["proxy"], [*OPTIONAL["proxy"].split(), *more])] * 2
    assert {"__enter__", "__exit__"} <= set(dir(oo.Client))
    assert {"__aenter__", "__aexit__"} <= set(dir(oo.AsyncClient))
