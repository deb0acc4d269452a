"""The server under the measurements: nginx where it is installed, else a plain asyncio one."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
  upstream chat {{ server 127.0.0.1:{port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /api/secret {{ return 200 '{secret}'; }}
    location / {{ return 200 '{chat}'; }}
    location /relay/ {{ proxy_pass http://chat/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@contextmanager
def upstream() -> Iterator[tuple[str, str]]:
    """The base URL of a server on loopback, and its name. GET /api/secret gives a secret, all else a chat."""
    nginx = shutil.which("nginx")
    if nginx is None:
        with plain() as url:
            yield url, "asyncio"
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "nginx.conf"
        config.write_text(_NGINX.format(dir=directory, port=port, secret=SECRET.decode(), chat=CHAT.decode()))
        with _listening([nginx, "-c", str(config), "-e", f"{directory}/error"], port) as url:
            yield url, "nginx"


@contextmanager
def plain() -> Iterator[str]:
    """The plain server, wherever it runs: what is counted must not depend on what a machine has installed."""
    port = free_port()
    with _listening([sys.executable, "-m", "benchmarks.upstream", str(port)], port) as url:
        yield url


@contextmanager
def _listening(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    """Until something listens; TimeoutError after ten seconds."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


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


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
