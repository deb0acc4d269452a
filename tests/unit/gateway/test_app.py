from __future__ import annotations

import socket

import pytest

from oo.gateway.app import Gateway, bound, url_of
from tests.support.stores import LenientStore


def test_a_socket_is_bound_and_does_not_listen_yet() -> None:
    with bound("127.0.0.1", 0) as sock, socket.socket() as other:
        assert sock.getsockname()[1] > 0
        assert sock.get_inheritable()
        with pytest.raises(ConnectionRefusedError):
            other.connect(sock.getsockname())


def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            bound(*taken.getsockname())


@pytest.mark.parametrize(("tls", "scheme"), [(False, "http"), (True, "https")])
def test_the_url_of_a_socket(tls: bool, scheme: str) -> None:
    with bound("127.0.0.1", 0) as sock:
        assert url_of(sock, tls) == f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"


async def test_a_gateway_closes_the_socket_it_was_given() -> None:
    sock = bound("127.0.0.1", 0)
    async with Gateway(LenientStore(), sock=sock) as gateway:
        assert gateway.url == url_of(sock, False)
    assert sock.fileno() == -1
