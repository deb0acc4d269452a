"""`oo serve --workers N`: workers that are replaced one after the other, and ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from oo.gateway.models import Route
from oo.gateway.stop_signals import HURRY
from tests.support.faults import READ, SILENCE, head, serving
from tests.support.processes import Home, Serving, get, is_running, kill, needs_proc, until
from tests.support.waiting import PATIENCE, SOON

pytestmark = needs_proc
STREAM = head(b"Transfer-Encoding: chunked") + b"3\r\none\r\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("supervised") / "home").made(a="value of a")


@pytest.fixture(scope="module")
def token(home: Home) -> str:
    return home.token("secret", "a")


class Calling:
    """Calls over and over, each on a connection of its own, while its block runs; `wrong` holds what failed."""

    def __init__(self, served: Serving, token: str) -> None:
        self._url, self._token = served.url, token
        self._over = threading.Event()
        self.wrong: list[object] = []
        self.right = 0

    def __enter__(self) -> Calling:
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _call(self) -> None:
        while not self._over.is_set():
            try:
                got = get(self._url, self._token)
                self.right += got.status == 200
                if got.status != 200:
                    self.wrong.append((got.status, got.body))
            except OSError as error:
                self.wrong.append(error)


def config(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_workers_are_replaced_one_after_the_other_where_the_settings_changed(
    home: Home, token: str, tmp_path: Path
) -> None:
    file = config(tmp_path / "gateway.toml", "workers = 2\n")
    with home.serve("--config", file) as served, Calling(served, token) as calling:
        until(lambda: len(served.workers()) == 2 and calling.right)
        before = served.workers()
        config(Path(file), "workers = 3\ngrace = 5\nlog-format = 'json'\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: len(served.workers()) == 3 and not set(before) & set(served.workers()))
        config(Path(file), "workers = 1\ngrace = 5\nlog-format = 'json'\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: len(served.workers()) == 1)
        assert '"message": "this process ends: calls that were cut: 0"' in served.log
        assert "workers that have them take the places of the others" in served.log
    assert calling.wrong == []
    assert "another takes its place" not in served.log


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is handed over")
def test_workers_that_are_replaced_leave_their_share_of_a_port_to_those_that_follow(
    home: Home, token: str, tmp_path: Path
) -> None:
    file = config(tmp_path / "gateway.toml", "workers = 2\nreuse-port = true\naccess-log = true\n")
    other = Home(tmp_path, **home.environ)
    with home.serve("--config", file) as served:
        with other.serve("--reuse-port", "--port", served.url.rpartition(":")[2]):
            until(lambda: len(served.workers()) == 2)
            before = served.workers()
            config(Path(file), "workers = 2\nreuse-port = true\naccess-log = true\ngrace = 5\n")
            served.process.send_signal(signal.SIGHUP)
            until(lambda: len(served.workers()) == 2 and not set(before) & set(served.workers()))
            known = served.log.count('"/api/secret"')
            assert {served.get(token).status for _ in range(40)} == {200}
            until(lambda: served.log.count('"/api/secret"') > known, SOON)
        assert served.get(token).status == 200


def test_what_needs_no_new_worker_is_taken_over_by_each(home: Home, token: str) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        until(lambda: served.get(token).status == 200)
        before = served.workers()
        for _ in range(3):
            served.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        assert served.workers() == before
        assert served.get(token).status == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers = 2\nplugins = ['no-such']\n", "the settings before are kept"),
        ("workers = true\n", "the settings stay as they were"),
    ],
)
def test_settings_that_do_not_run_are_said_and_the_workers_stay(
    home: Home, token: str, tmp_path: Path, text: str, said: str
) -> None:
    file = config(tmp_path / "gateway.toml", "workers = 2\n")
    with home.serve("--config", file) as served:
        until(lambda: len(served.workers()) == 2)
        until(lambda: served.get(token).status == 200)
        before = served.workers()
        config(Path(file), text)
        served.process.send_signal(signal.SIGHUP)
        until(lambda: said in served.log)
        until(lambda: served.workers() == before)
        assert served.get(token).status == 200


def under_way(home: Home, served: Serving, upstream: str) -> socket.socket:
    """A connection with a call under way that does not end by itself."""
    home.run(lambda vault: vault.put_route(Route("held", upstream, allow_private=True)))
    token = home.token("route", "held")
    host, port = served.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), PATIENCE)
    sock.sendall(f"GET /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert sock.recv(65536)
    return sock


def is_refused(served: Serving) -> bool:
    """Whether nobody listens there. What a worker had not accepted yet that is still starting may be reset."""
    with suppress(ConnectionResetError):
        try:
            get(served.url, None)
        except ConnectionRefusedError:
            return True
    return False


def send(number: int, processes: list[int]) -> None:
    for pid in processes:
        os.kill(pid, number)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_signals_that_come_together_cut_nothing(home: Home, workers: str) -> None:
    with (
        serving([READ, STREAM, SILENCE]) as upstream,
        home.serve("--workers", workers, "--grace", "2") as served,
        under_way(home, served, upstream.url),
    ):
        began = time.monotonic()
        for _ in range(3):
            served.process.terminate()
            time.sleep(0.05)  # so that each is a signal of its own
        assert served.process.wait(PATIENCE) == 0
        assert time.monotonic() - began > 1.5


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once_and_what_is_cut_is_counted(home: Home, workers: str) -> None:
    with serving([READ, STREAM, SILENCE]) as upstream, home.serve("--workers", workers, "--grace", "3600") as served:
        with under_way(home, served, upstream.url):
            processes = [served.process.pid, *served.workers()]
            served.process.terminate()
            until(lambda: is_refused(served))  # it listens no more
            time.sleep(1.5)  # longer than what is silent is waited for
            assert served.process.poll() is None
            served.process.terminate()
            assert served.process.wait(SOON) == 0
        assert "this process ends: calls that were cut: 1" in served.log
        until(lambda: not any(map(is_running, processes[1:])))
    audit = (home.path / "audit.jsonl").read_text().splitlines()
    assert '"event": "cut"' in audit[-2]
    assert '"outcome": "cut"' in audit[-1]
    assert '"count": 1' in audit[-2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_twice_by_its_manager_drains_all_the_same(home: Home, number: int) -> None:
    with serving([READ, STREAM, SILENCE]) as upstream, home.serve("--workers", "2", "--grace", "2") as served:
        until(lambda: len(served.workers()) == 2)
        with under_way(home, served, upstream.url):
            send(number, [served.process.pid, *served.workers()])  # systemd's KillMode=control-group
            began = time.monotonic()
            assert served.process.wait(PATIENCE) == 0
            assert time.monotonic() - began > 1.5


def is_up(pid: int) -> bool:
    """Whether a worker takes its supervisor's signals, the last of which is HURRY."""
    (caught,) = re.findall(r"SigCgt:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> HURRY - 1 & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_by_its_supervisor_alone_and_with_it(home: Home, token: str, number: int) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2 and all(map(is_up, served.workers())))
        workers = served.workers()
        send(number, workers)
        time.sleep(1)
        assert {served.get(token).status for _ in range(20)} == {200}
        assert served.workers() == workers
        kill(served.process.pid)
        send(number, workers)
        served.process.wait()
        until(lambda: not any(map(is_running, workers)))
        assert "another takes its place" not in served.log


def test_a_worker_that_does_not_end_is_killed(home: Home, token: str) -> None:
    with home.serve("--workers", "2", "--grace", "0") as served:
        until(lambda: len(served.workers()) == 2)
        until(lambda: served.get(token).status == 200)
        stopped = served.workers()[0]
        os.kill(stopped, signal.SIGSTOP)
        served.process.terminate()
        assert served.process.wait(PATIENCE) == 0
        until(lambda: not is_running(stopped))


def test_a_killed_worker_is_replaced_by_one_of_the_same_settings(home: Home, token: str) -> None:
    with home.serve("--workers", "2", "--log-format", "json") as served:
        until(lambda: len(served.workers()) == 2)
        killed = served.workers()[0]
        kill(killed)
        until(lambda: f'"message": "worker {killed} ended with -9; another takes its place"' in served.log)
