"""Others who do the same, each in an environment of its own: clients at the calls of ours, and gateways under the load
of ours, over the same upstream. Nothing but --peers installs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import NotInstalledError, node_modules, python_with, reason
from benchmarks.footprint import ask, start, start_of_floor, start_of_ours
from benchmarks.gateways import Load, Served, at_floor, gateway, running
from benchmarks.load import BODY, PAYLOAD, keyed, request, with_fields
from benchmarks.measure import FLOOR, Measured, Row, Side, once, paired
from benchmarks.processes import MIB, resident_family
from benchmarks.streams import TOKENS, Caller, first_bytes, streaming
from benchmarks.tunnels import connected
from benchmarks.upstream import Running, free_port, plain, relay

PINNED = {
    "httpx": ("httpx==0.28.1",),
    "niquests": ("niquests==3.21.2",),
    "azure-core": ("azure-core==1.41.0", "aiohttp==3.14.5"),
    # Not 1.110.2, the newest: its proxy needs a `litellm-proxy` that PyPI does not have.
    "LiteLLM": ("litellm[proxy]==1.100.5",),
    # With the server of hono that npm chooses (1.19.19) it answers 500 to whatever is streamed.
    "Portkey": ("@portkey-ai/gateway@1.15.2", "@hono/node-server@1.12.2"),
}
"""What each is installed from."""
CLIENTS = {"httpx": "tasks_httpx", "niquests": "tasks_niquests", "azure-core": "tasks_azure"}
"""The worker's measure of each client."""
FEW = 1024
"""Calls of a round of those, each of which takes up to some milliseconds."""
STREAMED = json.dumps({**PAYLOAD, "model": "streamed", "stream": True}).encode()
PATIENCE = 120.0
"""Seconds that a gateway may take to start."""
CALLS = 100
"""First bytes that are timed of each gateway."""


def client_rows(url: str, ours: Side, rounds: int) -> Iterator[Row]:
    """A secret by each client, at 16 and 64 tasks."""
    with ExitStack() as stack:
        found: dict[str, Side] = {}
        for name, measure in CLIENTS.items():
            with _or_said(name):
                side = stack.enter_context(Side(python_with(f"{name}-", PINNED[name]), url))
                side(measure, count=16, tasks=16)
                found[name] = side
        for number in (16, 64):
            sides: dict[str, Callable[[], Measured]] = {"ours": partial(ours, "tasks", count=5120, tasks=number)}
            sides |= {name: partial(side, CLIENTS[name], count=FEW, tasks=number) for name, side in found.items()}
            sides[FLOOR] = partial(ours, "tasks_floor", count=5120, tasks=number)
            yield paired(f"clients, {number} tasks", "/s", rounds, sides)


class Peer(NamedTuple):
    """Another gateway: the command to which its port is added, what says that it is there, and how a chat is asked."""

    command: Sequence[str]
    environment: dict[str, str]
    path: str
    chat: bytes
    streamed: bytes


class Found(NamedTuple):
    """What is measured of a gateway that runs."""

    chat: Load
    tokens: Load
    caller: Callable[[], Caller]
    """Connects anew: a gateway may close what has been idle for seconds."""
    idle: float
    start: Callable[[], Measured]


def peer_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """A chat through each gateway, a keyed and a streamed one, a counted secret, its memory before it had any, and its
    start."""
    with ExitStack() as stack:
        streams = stack.enter_context(streaming())
        served, streamed = (stack.enter_context(gateway(url)) for url in (upstream, streams.url))
        found = {"ours": _ours(served, streamed)}
        for name, described in PEERS.items():
            with _or_said(name):
                home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                found[name] = _started(stack, described(home, upstream, streams.url))
        floor, relayed = (stack.enter_context(relay(url)) for url in (upstream, streams.url))
        chats = {side: each.chat for side, each in found.items()}
        yield paired("gateways, chat", "/s", rounds, chats | at_floor(floor, _chat("none")))
        yield _ours_alone("gateways, keyed chat", served, keyed(_chat(served.route)), floor, rounds)
        counted = request("GET", "/api/secret", served.counted)
        yield _ours_alone("gateways, counted secret", served, counted, floor, rounds)
        tokens = {side: each.tokens for side, each in found.items()}
        tokens |= at_floor(relayed, _streamed("none"), each=TOKENS)
        yield paired("gateways, streamed tokens", "/s", rounds, tokens)
        callers = {side: each.caller() for side, each in found.items()}
        callers["upstream"] = Caller(streams.port, _streamed("none"))
        if relayed:
            callers[FLOOR] = Caller(relayed.port, _streamed("none"), relayed.pid)
        late, worked = first_bytes(callers, CALLS)
        yield once("gateways, first byte of a stream", "ms", late, cpu=worked)
        least = stack.enter_context(plain())
        idle = {side: each.idle for side, each in found.items()} | {FLOOR: _idle(least.port, least.pid)}
        yield once("gateways, idle", "MiB", idle)
        starts = {side: each.start for side, each in found.items()} | {FLOOR: start_of_floor}
        yield paired("gateways, start to the first answer", "ms", min(rounds, 3), starts)


def _ours_alone(name: str, served: Served, sent: bytes, floor: Running | None, rounds: int) -> Row:
    """A row of what no other gateway here has: none knows an Idempotency-Key, hands out a secret, or counts the uses of
    a key. LiteLLM's keys have budgets of money, in a database, which are written after the call."""
    sides = {"ours": Load(served.port, served.pid, sent)}
    return replace(paired(name, "/s", rounds, sides | at_floor(floor, sent)), lacking=tuple(PEERS))


def _ours(served: Served, streamed: Served) -> Found:
    sent = _streamed(streamed.route)
    return Found(
        Load(served.port, served.pid, _chat(served.route)),
        Load(streamed.port, streamed.pid, sent, each=TOKENS),
        partial(Caller, streamed.port, sent, streamed.pid),
        _idle(served.port, served.pid),
        start_of_ours,
    )


def _started(stack: ExitStack, peer: Peer) -> Found:
    port = free_port()
    pid = stack.enter_context(running([*peer.command, str(port)], port, peer.environment, PATIENCE))
    idle = _idle(port, pid, peer.path)
    found = Found(
        Load(port, pid, peer.chat),
        Load(port, pid, peer.streamed, each=TOKENS),
        partial(Caller, port, peer.streamed, pid),
        idle,
        partial(_start, peer),
    )
    found.chat()  # so that what it cannot do is said here
    found.tokens()
    return found


def _start(peer: Peer) -> Measured:
    port = free_port()
    return start([*peer.command, str(port)], port, peer.environment, peer.path)


def _idle(port: int, pid: int, path: str = "/health") -> float:
    """Mebibytes of a gateway that has said that it is there."""
    with connected(port) as sock:
        ask(sock, path)
    return resident_family(pid) / MIB


def _chat(token: str, prefix: str = "/api/proxy", body: bytes = BODY) -> bytes:
    return request("POST", f"{prefix}/v1/chat/completions", token, body)


def _streamed(token: str, prefix: str = "/api/proxy") -> bytes:
    return _chat(token, prefix, STREAMED)


def _litellm(home: Path, upstream: str, streams: str) -> Peer:
    """LiteLLM's proxy, with a key that it checks and a model for each upstream; it fetches no list of prices."""
    python = python_with("litellm-", PINNED["LiteLLM"])
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/gpt-4o-mini", "api_base": f"{url}/v1", "api_key": "k"}}
        for name, url in ((PAYLOAD["model"], upstream), ("streamed", streams))
    ]
    config = home / "config.yaml"  # of which JSON is a part
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": "sk-benchmark"}}))
    command = [python, "-I", str(Path(python).with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    asked = _chat("sk-benchmark", ""), _streamed("sk-benchmark", "")
    return Peer([*command, "--telemetry", "False", "--port"], environment, "/health/liveliness", *asked)


def _portkey(_home: Path, upstream: str, streams: str) -> Peer:
    """Portkey's gateway, which is told by each request where it goes to."""
    script = node_modules("portkey", PINNED["Portkey"]) / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    # It takes its port in one word with the option, so a shell joins them.
    command = ["sh", "-c", f'exec node "{script}" --headless --port="$1"', "portkey"]
    environment = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}

    def to(url: str, sent: bytes) -> bytes:
        return with_fields(sent, {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{url}/v1"})

    return Peer(command, environment, "/", to(upstream, _chat("k", "")), to(streams, _streamed("k", "")))


PEERS: dict[str, Callable[[Path, str, str], Peer]] = {"LiteLLM": _litellm, "Portkey": _portkey}


@contextmanager
def _or_said(name: str) -> Iterator[None]:
    """Say in a line why one cannot be measured, and go on without it."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        print(f"{name} is not measured: {reason(error)}", file=sys.stderr)
    except (NotInstalledError, OSError, RuntimeError) as error:
        print(f"{name} is not measured: {error}", file=sys.stderr)
