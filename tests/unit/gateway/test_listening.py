from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oo.gateway import listening
from oo.gateway.listening import (
    UnixPath,
    begin_no_more,
    bound,
    bound_unix,
    give_way,
    hand_on,
    handed_over,
    is_loopback,
    listen,
    url_of,
)
from tests.support.waiting import PATIENCE

linux = pytest.mark.skipif(sys.platform != "linux", reason="what a port is shared by is Linux's")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def accepted(sock: socket.socket) -> int:
    sock.setblocking(False)
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


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
        for reuse_port in (False, True):
            with pytest.raises(OSError, match="in use"):
                bound(*taken.getsockname(), reuse_port=reuse_port)


def test_a_system_that_cannot_share_a_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(OSError, match="cannot share"):
        bound("127.0.0.1", 0, reuse_port=True)


@pytest.mark.parametrize(("tls", "scheme"), [(False, "http"), (True, "https")])
def test_the_url_of_a_socket(tls: bool, scheme: str) -> None:
    with bound("127.0.0.1", 0) as sock:
        assert url_of(sock, tls) == f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"


def test_a_unix_socket_has_its_mode_and_a_url_and_is_loopback(tmp_path: Path, opened: ExitStack) -> None:
    path = str(tmp_path / "o o.sock")
    sock = opened.enter_context(bound_unix(path, 0o660))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    assert url_of(sock, False, path) == f"http+unix://{str(tmp_path).replace('/', '%2F')}%2Fo%20o.sock"
    assert url_of(sock, False).startswith("http+unix://")
    assert is_loopback(sock)
    assert os.listdir(tmp_path) == ["o o.sock"]


def test_what_a_dead_process_left_is_replaced_and_what_lives_only_where_it_is_to_be(
    tmp_path: Path, opened: ExitStack
) -> None:
    path = str(tmp_path / "oo.sock")
    bound_unix(path).close()
    live = opened.enter_context(bound_unix(path))
    listen(live)
    with pytest.raises(OSError, match="listens there"):
        bound_unix(path)
    file = UnixPath(path)
    listen(opened.enter_context(bound_unix(path, replace=True)))
    file.remove()  # it is another's by now
    assert os.path.exists(path)
    UnixPath(path).remove()
    assert not os.path.exists(path)
    UnixPath(path).remove()


def test_a_file_is_never_replaced_and_nothing_is_left_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="no socket"):
        bound_unix(str(path))
    with pytest.raises(OSError, match="No such file"):
        bound_unix(str(tmp_path / "none" / "oo.sock"))
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["file"]


def test_a_socket_whose_name_cannot_be_taken_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_paths: object) -> None:
        raise OSError(13, "no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        bound_unix(str(tmp_path / "oo.sock"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}],
)
def test_what_was_handed_to_another_process_is_not_taken(environ: dict[str, str]) -> None:
    assert handed_over(environ) == {}
    assert environ == {}


def test_sockets_that_were_handed_over_are_told_by_their_names(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [opened.enter_context(bound("127.0.0.1", 0)) for _ in range(3)]
    first = max(sock.fileno() for sock in made) + 40
    for at, sock in enumerate(made):
        os.dup2(sock.fileno(), first + at)
    monkeypatch.setattr(listening, "_FIRST_FD", first)
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "oo.socket:admin", "HOME": "/"}
    found = handed_over(environ)
    for sock in found.values():
        opened.enter_context(sock)
    os.close(first + 2)  # a second one for callers is left alone
    assert {name: sock.getsockname() for name, sock in found.items()} == {
        "": made[0].getsockname(),
        "admin": made[1].getsockname(),
    }
    assert environ == {"HOME": "/"}


@linux
@pytest.mark.parametrize("place", [0, 1])
def test_a_process_that_ends_has_the_other_take_what_comes(opened: ExitStack, place: int) -> None:
    first = opened.enter_context(bound("127.0.0.1", 0, reuse_port=True))
    both = [first, opened.enter_context(bound(*first.getsockname(), reuse_port=True))]
    for sock in both:
        listen(sock, shared=True)
    assert give_way(both[1 - place], place)
    for _ in range(20):
        opened.enter_context(socket.create_connection(first.getsockname()))
    assert accepted(both[place]) == 20
    listen(both[place], shared=True)  # whoever comes to listen there shares again
    for _ in range(64):
        opened.enter_context(socket.create_connection(first.getsockname()))
    assert all(accepted(sock) for sock in both)


@linux
def test_no_connection_begins_any_more_and_those_that_are_begun_come(opened: ExitStack) -> None:
    sock = opened.enter_context(bound("127.0.0.1", 0))
    listen(sock)
    begun = opened.enter_context(socket.create_connection(sock.getsockname()))
    assert begin_no_more(sock)
    late = opened.enter_context(socket.socket())
    late.setblocking(False)
    late.connect_ex(sock.getsockname())
    assert select.select((), (late,), (), 0.2)[1] == []
    begun.sendall(b"x")
    taken, _ = sock.accept()
    assert opened.enter_context(taken).recv(1) == b"x"
    sock.close()
    assert select.select((), (late,), (), PATIENCE)[1] == [late]  # its SYN is sent again
    assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_where_the_system_has_no_filter_nothing_is_said(opened: ExitStack) -> None:
    sock = bound("127.0.0.1", 0)
    sock.close()
    assert not begin_no_more(sock)


def test_a_port_that_is_not_shared_cannot_be_handed_on() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert not give_way(sock, 0)


@linux
@pytest.mark.parametrize("younger", [False, True])
async def test_what_comes_is_handed_to_the_other_whichever_listened_first(
    opened: ExitStack, younger: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SETTLE", 0.05)
    first = opened.enter_context(bound("127.0.0.1", 0, reuse_port=True))
    both = [first, opened.enter_context(bound(*first.getsockname(), reuse_port=True))]
    for sock in both:
        listen(sock, shared=True)
    ending, staying = both if not younger else reversed(both)
    came = 0

    def made() -> int:
        nonlocal came
        opened.enter_context(socket.create_connection(first.getsockname()))
        came += accepted(ending)
        return came

    await hand_on(ending, made)
    accepted(ending), accepted(staying)
    for _ in range(10):
        opened.enter_context(socket.create_connection(first.getsockname()))
    assert (accepted(ending), accepted(staying)) == (0, 10)


async def test_where_nothing_can_be_handed_on_nobody_waits() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        await hand_on(sock, lambda: 1)
