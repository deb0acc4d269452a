"""The server under the measurements: nginx where it is installed, else a plain asyncio one."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

SECRET = b'{"value":"a-value-that-is-no-secret"}'
CHAT = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello to you. " * 40}}],
    }
).encode()

_NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 75s; default_type application/json;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  {around}
  server {{
    listen 127.0.0.1:{port} {tls} backlog=4096;
    location = /api/secret {{ return 200 '{secret}'; }}
    location / {{ {rest} }}
  }}
}}
"""
_RELAY = """proxy_pass http://relayed; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      client_max_body_size 0; proxy_request_buffering off;"""


class Running(NamedTuple):
    """A server: its port, its process, and what it is."""

    port: int
    pid: int
    name: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def upstream(both: str = "") -> Iterator[Running]:
    """A server on loopback, over TLS with a file of a certificate and its key. GET /api/secret gives a secret, all else
    a chat."""
    has_nginx = shutil.which("nginx") is not None
    with _nginx(f"return 200 '{CHAT.decode()}';", both=both) if has_nginx else plain(both) as running:
        yield running


@contextmanager
def relay(url: str, both: str = "") -> Iterator[Running | None]:
    """nginx that answers GET /api/secret and passes the rest on to `url`, a gateway's floor; None without nginx."""
    if shutil.which("nginx") is None:
        yield None
        return
    with _nginx(_RELAY, f"upstream relayed {{ server {urlsplit(url).netloc}; keepalive 256; }}", both) as running:
        yield running


@contextmanager
def _nginx(rest: str, around: str = "", both: str = "") -> Iterator[Running]:
    port = free_port()
    around += f"ssl_certificate {both}; ssl_certificate_key {both};" if both else ""
    values = {"port": port, "tls": "ssl" if both else "", "secret": SECRET.decode(), "rest": rest, "around": around}
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "nginx.conf"
        config.write_text(_NGINX.format(dir=directory, **values))
        with _listening(["nginx", "-c", str(config), "-e", f"{directory}/error"], port) as pid:
            yield Running(port, pid, "nginx")


@contextmanager
def plain(both: str = "") -> Iterator[Running]:
    """The plain server, wherever it runs: what is counted must not depend on what a machine has installed."""
    port = free_port()
    with _listening(plain_command(port, both), port) as pid:
        yield Running(port, pid, "asyncio")


def plain_command(port: int, both: str = "") -> list[str]:
    return [sys.executable, "-m", "benchmarks.upstream", str(port), both]


@contextmanager
def _listening(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command)
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, seconds: float = 10.0, process: subprocess.Popen[bytes] | None = None) -> None:
    """Until something listens; TimeoutError after so long, ChildProcessError where the process has ended before."""
    for _ in range(round(seconds / 0.05)):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            still_runs(process)
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


def still_runs(process: subprocess.Popen[bytes] | None) -> None:
    if process and (code := process.poll()) is not None:
        raise ChildProcessError(f"{process.args!r} ended with {code}")


class Plain(asyncio.Protocol):
    """As little HTTP as keeps a connection alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self.data = rest[length:]
            body = SECRET if b" /api/secret " in head else CHAT
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            self.transport.write(answer % (len(body), body))  # type: ignore[attr-defined]  # a stream's transport


async def serve(port: int, both: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if both else None
    if context:
        context.load_cert_chain(both)
    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", port, backlog=4096, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
