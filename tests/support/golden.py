"""What callers and servers see of the library, as data: public names, signatures, bytes on the wire.

`golden.json` beside this file is what one commit gave. To record another, make a folder that holds (or links to) that
commit's `oo` and these `tests`, and run in it `python -m tests.support.golden > golden.json`.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import oo
import oo.testing
from tests.support.faults import FaultServer, answer, nobody

MODULES = ("oo", "oo.middleware", "oo.hooks", "oo.exceptions", "oo.testing")
METHODS: dict[str, str | None] = {
    "oo.Client": None,
    "oo.AsyncClient": None,
    "oo.Headers": None,
    "oo.SecretCache": "get set invalidate clear",
    "oo.testing.MockTransport": None,
    "oo.testing.VirtualClock": None,
    "oo.testing.LocalGateway": None,
}
"""Classes whose methods are called by others, and which of them; None for every public one."""
# Changed on purpose: a Request has a context, which its Response shares.
EXCEPTED = {"oo.Request", "oo.Response"}

TOKEN = "golden-token-0123456789"
_CHAT = [{"role": "user", "content": "Grüße"}]
_TEXTS = ["one", "two"]
# Method of the client, its arguments.
CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "secret": ("get_secret", (TOKEN,), {}),
    "secret, cached": ("get_secret", (TOKEN,), {"cache_ttl": 60}),
    "env": ("get_env", (TOKEN,), {}),
    "health": ("health", (), {}),
    "proxy, no payload": ("proxy", ("v1/x", TOKEN), {}),
    "proxy, empty object": ("proxy", ("v1/x", TOKEN), {"payload": {}}),
    "proxy, object": ("proxy", ("v1/x", TOKEN), {"payload": {"b": [1, 2.5, None, True], "a": "ü\u2028"}}),
    "proxy, list": ("proxy", ("v1/x", TOKEN), {"payload": [1, "two"]}),
    "proxy, empty list": ("proxy", ("v1/x", TOKEN), {"payload": []}),
    "proxy, text": ("proxy", ("v1/x", TOKEN), {"payload": "text"}),
    "proxy, number": ("proxy", ("v1/x", TOKEN), {"payload": 0}),
    "proxy, false": ("proxy", ("v1/x", TOKEN), {"payload": False}),
    "proxy, GET": ("proxy", ("v1/models?limit=5&q=a%20b", TOKEN), {"method": "GET"}),
    "proxy, DELETE": ("proxy", ("/v1/models/ü", TOKEN, "DELETE"), {}),
    "proxy, PUT": ("proxy", ("v1/x/", TOKEN, "PUT", {"a": 1}), {}),
    "proxy, headers": ("proxy", ("v1/x", TOKEN), {"headers": {"X-Mine": "a, b", "x-other": "ü"}}),
    "proxy, accept": ("proxy", ("v1/x", TOKEN), {"payload": {}, "headers": {"accept": "text/plain"}}),
    "proxy, own key": ("proxy", ("v1/x", TOKEN), {"payload": {}, "headers": {"Idempotency-Key": "mine"}}),
    "send": ("send", ("v1/x", TOKEN), {"payload": {"a": 1}}),
    "stream": ("stream", ("v1/x", TOKEN), {"payload": {"a": 1}}),
    "chat": ("chat_completion", (TOKEN, _CHAT), {}),
    "chat, further": ("chat_completion", (TOKEN, _CHAT, "m"), {"temperature": 0.5, "n": 2}),
    "chat, streamed": ("chat_completion", (TOKEN, _CHAT), {"stream": True}),
    "embed": ("embed", (TOKEN, _TEXTS), {"dimensions": 8}),
    "image": ("image", (TOKEN, "a house"), {}),
    "proxy, retried": ("proxy", ("v1/busy", TOKEN), {"payload": {"a": 1}}),
    "proxy, GET retried": ("proxy", ("v1/busy", TOKEN), {"method": "GET"}),
}
RETRIED = {name for name in CALLS if "retried" in name}

_KEYED = "POST /api/proxy/v1/x|Authorization: Bearer {route}|Idempotency-Key: k"
_SECRET = "injected-secret-value"
# Request line and headers, and the body, of a request to the gateway; what is in braces is a token.
ANSWERS: dict[str, tuple[str, bytes]] = {
    "health": ("GET /health", b""),
    "secret": ("GET /api/secret|Authorization: Bearer {secret}", b""),
    "environment": ("GET /api/env|Authorization: Bearer {env}", b""),
    "no token": ("GET /api/secret", b""),
    "another's token": ("GET /api/secret|Authorization: Bearer {env}", b""),
    "nothing there": ("GET /api/other|Authorization: Bearer {secret}", b""),
    "proxied": ("POST /api/proxy/v1/x?a=1|Authorization: Bearer {route}|X-Mine: a|Content-Length: 2", b"{}"),
    "proxied, HEAD": ("HEAD /api/proxy/v1/x|Authorization: Bearer {route}", b""),
    "proxied, keyed": (f"{_KEYED}|Content-Length: 2", b"{}"),
    "proxied, repeated": (f"{_KEYED}|Content-Length: 2", b"{}"),
    "proxied, another call of that key": (f"{_KEYED}|Content-Length: 3", b"[1]"),
    "in pieces": ("GET /api/proxy/pieces|Authorization: Bearer {route}", b""),
    "masked": ("GET /api/proxy/echo|Authorization: Bearer {route}", b""),
    "the API's error": ("GET /api/proxy/missing|Authorization: Bearer {route}", b""),
    "not allowed": ("POST /api/proxy/v1/x|Authorization: Bearer {narrow}|Content-Length: 0", b""),
    "no such method": ("TRACE /api/proxy/v1/x|Authorization: Bearer {route}", b""),
    "a path that leaves": ("GET /api/proxy/../x|Authorization: Bearer {route}", b""),
    "no upstream": ("GET /api/proxy/x|Authorization: Bearer {dead}", b""),
    "no HTTP": ("nonsense", b""),
}


def public_names(module: str) -> list[str]:
    """`__all__` and what else a module defines in its own lines, type variables apart."""
    loaded = importlib.import_module(module)
    names = set(getattr(loaded, "__all__", ()))
    for node in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    private = {name for name in names if name.startswith("_") and name != "__version__"} | {"TYPE_CHECKING"}
    return sorted(name for name in names - private if not isinstance(getattr(loaded, name), TypeVar))


def signature(target: Any) -> list[tuple[str, str, str]]:
    """Name, kind and default of each parameter."""
    return [
        (each.name, each.kind.name, "" if each.default is each.empty else repr(each.default))
        for each in inspect.signature(target).parameters.values()
    ]


def signatures() -> dict[str, list[tuple[str, str, str]]]:
    """Those of the public callables, of a class its constructor's, and of the METHODS."""
    found = {}
    for module in MODULES:
        for name in public_names(module):
            target = getattr(importlib.import_module(module), name)
            ours = str(getattr(target, "__module__", "")).partition(".")[0] == "oo"
            if callable(target) and ours and not isinstance(target, type(oo.Slot)):
                found[f"{module}.{name}"] = signature(target)
    for path, chosen in METHODS.items():
        module, _, name = path.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        for method in chosen.split() if chosen else dir(kind):
            if not method.startswith("_") and callable(getattr(kind, method)):
                found[f"{path}.{method}"] = signature(getattr(kind, method))
    return found


def client_bytes(blocking: bool) -> dict[str, list[str]]:
    """What each of CALLS puts on the wire, request by request, in one of the two worlds."""
    with FaultServer(reply=_reply) as server:
        return asyncio.run(_all_calls(server, blocking))


async def _all_calls(server: FaultServer, blocking: bool) -> dict[str, list[str]]:
    found = {}
    for name, (method, arguments, options) in CALLS.items():
        settings: dict[str, Any] = {"retries": 2, "backoff_factor": 0.001} if name in RETRIED else {}
        client = (oo.Client if blocking else oo.AsyncClient)(server.url, plugins=False, **settings)
        with suppress(oo.DoubleOError):
            await _made(getattr(client, method)(*arguments, **options))
        await _made(client.close())
        sent, server.requests[:] = list(server.requests), []
        found[name] = _keys_numbered([_plain(request, server.address) for request in sent])
    return found


def _keys_numbered(requests: list[str]) -> list[str]:
    """Made keys as numbers: two that are the same stay the same."""
    keys: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return f"Idempotency-Key: {keys.setdefault(match[1], f'{{key{len(keys)}}}')}"

    return [re.sub(r"Idempotency-Key: (?!mine)([^\r]+)", number, request) for request in requests]


async def _made(value: Any) -> None:
    """Await what has to be awaited, and enter what has to be left again."""
    if inspect.isawaitable(value):
        value = await value
    if hasattr(value, "__aenter__"):
        async with value:
            pass
    elif hasattr(value, "__enter__"):
        with value:
            pass


def _reply(request: bytes) -> bytes:
    path = request.split(b" ")[1]
    if b"busy" in path:
        return answer(b"{}", status=b"503 Service Unavailable")
    return answer(b'{"value": "good", "secrets": {"NAME": "value"}}', b"Content-Type: application/json")


def gateway_bytes() -> dict[str, dict[str, Any]]:
    """What the gateway answers to each of ANSWERS, and what it sends to the upstream for it."""
    found = {}
    with FaultServer(reply=_upstream) as upstream, _gateway(upstream.url) as (url, tokens):
        hosts = (urlsplit(url).netloc, upstream.address)
        for name, (lines, body) in ANSWERS.items():
            first, *fields = lines.format(**tokens).split("|")
            version = " HTTP/1.1" if " " in first else ""
            head = "\r\n".join([first + version, f"Host: {hosts[0]}", "Connection: close", *fields, "", ""])
            raw = _exchange(hosts[0], head.encode() + body)
            sent, upstream.requests[:] = list(upstream.requests), []
            found[name] = {"answer": _plain(raw, *hosts), "upstream": [_plain(each, *hosts) for each in sent]}
    return found


@contextmanager
def _gateway(upstream: str) -> Iterator[tuple[str, dict[str, str]]]:
    with oo.testing.gateway() as running, nobody() as dead:
        running.secret("key", _SECRET)
        inject = {"Authorization": "Bearer {key}"}
        yield running.url, {
            "secret": running.secret("greeting", "Grüße"),
            "env": running.environment("web", {"A": "1", "B": "two words"}),
            "route": running.route("api", upstream, inject),
            "narrow": running.route("narrow", upstream, inject, allow=("GET /v1/*",)),
            "dead": running.route("dead", dead, inject),
        }


def _upstream(request: bytes) -> list[bytes]:
    path = request.split(b" ")[1]
    fields = [b"Content-Type: application/json", b"X-Theirs: a", b"X-Theirs: b", b"Set-Cookie: c=1", b"Server: theirs"]
    if path.startswith(b"/pieces"):
        chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        return [chunked + b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"]
    if path.startswith(b"/echo"):
        return [answer(b'{"echo": "%b"}' % _SECRET.encode(), *fields)]
    if path.startswith(b"/missing"):
        return [answer(b'{"error": {"message": "no such thing"}}', *fields, status=b"404 Not Found")]
    if request.startswith(b"HEAD"):
        return [answer(b"", *fields)]
    return [answer(b'{"fine": true}', *fields)]


def _exchange(host: str, raw: bytes) -> bytes:
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), 10) as sock:
        sock.sendall(raw)
        return b"".join(iter(lambda: sock.recv(65536), b""))


_CHANGING = {
    r"(?m)^X-OO-(Source|Request-Id): \w+\r\n": "",  # came later
    r"(?m)^(Date|X-Request-Id): .*?(?=\r)": r"\1: {\1}",
    re.escape(f"double-o/{oo.__version__}"): "double-o/{version}",
    # The names that Python 3.13 gives statuses (RFC 9110), as those before it have them.
    r"^(HTTP/1\.1 422) Unprocessable Content(?=\r)": r"\1 Unprocessable Entity",
    r"^(HTTP/1\.1 413) Content Too Large(?=\r)": r"\1 Request Entity Too Large",
}


def _plain(raw: bytes, *hosts: str) -> str:
    """A message without what differs from one run to the next."""
    text = raw.decode("latin-1")
    for number, host in enumerate(hosts):
        text = text.replace(host, f"{{host{number or ''}}}")
    for pattern, instead in _CHANGING.items():
        text = re.sub(pattern, instead, text)
    return _joined(text) if "\nTransfer-Encoding: chunked\r" in text else text


def _joined(message: str) -> str:
    """Chunks as one: where an answer is cut is a matter of time."""
    head, _, body = message.partition("\r\n\r\n")
    pieces = []
    while body:
        size, _, body = body.partition("\r\n")
        pieces.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return f"{head}\r\n\r\n{''.join(pieces)}"


def main() -> None:
    recorded = {
        "names": {module: public_names(module) for module in MODULES},
        "signatures": {path: found for path, found in signatures().items() if path not in EXCEPTED},
        "blocking": client_bytes(True),
        "asyncio": client_bytes(False),
        "gateway": gateway_bytes(),
    }
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
