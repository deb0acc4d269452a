"""A server on a Unix socket: both clients call it, past every proxy, and the gateway only where private is allowed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import oo
import oo.testing
from oo.gateway.errors import StoreError
from oo.gateway.models import Route
from oo.gateway.rules import check_upstream
from tests.support.worlds import World

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"value":"v"}'


class Listener:
    """Answers each request on a Unix socket, and holds the heads that came."""

    def __init__(self, path: Path) -> None:
        self.heads: list[bytes] = []
        self.url = f"http+unix://{quote(str(path), safe='')}"
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            came = b""
            while piece := connection.recv(1 << 16):
                came += piece
                while b"\r\n\r\n" in came:
                    head, _, came = came.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    connection.sendall(ANSWER)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "Oo gateway.sock")
    yield made
    made.close()


def test_both_clients_call_it_past_every_proxy(
    world: World, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client = world.client(f"{listener.url}/")
    assert client.base_url == listener.url
    assert [client.get_secret(token) for token in ("one", "two")] == ["v", "v"]
    assert all(b"\r\nHost: localhost" in head for head in listener.heads)
    assert all(head.startswith(b"GET /api/secret HTTP/1.1") for head in listener.heads)


def test_a_socket_that_is_not_there_is_named(world: World, tmp_path: Path) -> None:
    client = world.client(f"http+unix://{quote(str(tmp_path / 'none.sock'), safe='')}", retries=0)
    with pytest.raises(oo.SecretError, match=r"none\.sock.*no such file"):
        client.get_secret("token")


def test_a_route_to_one_is_private(listener: Listener) -> None:
    with pytest.raises(StoreError, match="--allow-private"):
        check_upstream(Route("r", listener.url))
    check_upstream(Route("r", listener.url, allow_private=True))


@pytest.mark.parametrize(("private", "status"), [(True, 200), (False, 502)])
def test_the_gateway_calls_one_where_private_is_allowed(
    gateway: oo.testing.LocalGateway, listener: Listener, private: bool, status: int
) -> None:
    token = gateway.route("r", listener.url, allow_private=private)
    with oo.Client(gateway.url, retries=0) as client:
        assert client.send("x", token, "GET", check=False).status == status
    assert bool(listener.heads) is private
