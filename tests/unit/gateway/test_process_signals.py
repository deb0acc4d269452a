"""One process of `oo serve`: what it takes over on SIGHUP, and what it was started with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import oo
from tests.support.processes import OO, Home, children, get, needs_proc, until
from tests.support.waiting import PATIENCE

pytestmark = needs_proc


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("signalled") / "home").made(a="value of a")


@pytest.fixture(scope="module")
def token(home: Home) -> str:
    return home.token("secret", "a")


def test_a_level_is_taken_over_and_what_needs_a_start_is_said(home: Home, token: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("log-level = 'info'\n")
    with home.serve("--config", str(file)) as served:
        assert served.get(token).status == 200
        file.write_text("log-level = 'debug'\n")
        served.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert served.news == []
        file.write_text("grace = 5\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "take effect when the gateway is started anew" in served.log)
        file.write_text("grace = [\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "is no TOML" in served.log)
        assert served.get(token).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_changed_needs_a_start_and_that_is_said(
    home: Home, token: str, tmp_path: Path, workers: str
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("host = '127.0.0.1'\n")
    with home.serve("--config", str(file), "--workers", workers) as served:
        assert served.get(token).status == 200
        served.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert "started anew" not in served.log
        file.write_text("host = '127.0.0.2'\n")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "host: what is listened on stays as it was until the gateway is started anew" in served.log)
        assert served.get(token).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_that_comes_early_ends_nothing(home: Home, token: str, workers: str) -> None:
    with home.serve("--workers", workers) as served:
        for _ in range(20):
            served.process.send_signal(signal.SIGHUP)
        until(lambda: served.get(token).status == 200)
        assert served.news == []


def test_it_listens_on_a_unix_socket_and_takes_it_away(home: Home, token: str, tmp_path: Path) -> None:
    path = tmp_path / "oo.sock"
    log = tmp_path / "log"
    with open(log, "wb") as stderr:
        process = home.start("serve", "--uds", str(path), "--uds-mode", "0660", "--access-log", stderr=stderr)
    try:
        until(lambda: "version" in log.read_text())
        url = log.read_text().splitlines()[0].split()[-1]
        with oo.Client(url) as client:
            assert client.get_secret(token) == "value of a"
        assert path.stat().st_mode & 0o777 == 0o660
        assert "listens there" in home.oo("serve", "--uds", str(path)).stderr
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not path.exists()
    assert '"GET" "/api/secret" 200 ' in log.read_text()


def start_with(home: Home, *options: str, variables: str, **streams: object) -> subprocess.Popen[bytes]:
    """`oo serve` as a service manager starts it, with variables that name its own process."""
    program = f"import os, sys; os.environ.update({variables}); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", program, *OO, "serve", *options]
    return subprocess.Popen(command, env=home.environ, stderr=subprocess.PIPE, **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_answers_on_a_socket_that_was_handed_over(home: Home, token: str, workers: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        variables = "LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'"
        for _ in range(2):  # the system keeps callers waiting while it is started anew
            with start_with(
                home,
                *("--workers", workers),
                variables=variables,
                preexec_fn=lambda: os.dup2(sock.fileno(), 3),
                close_fds=False,
            ) as process:
                try:
                    assert process.stderr is not None
                    assert process.stderr.readline().decode().split()[-1] == url
                    assert get(url, token).status == 200
                finally:
                    process.terminate()
                assert process.wait(PATIENCE) == 0
                process.stderr.read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_manager_is_told_what_happens(home: Home, token: str, tmp_path: Path, workers: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        variables = f"NOTIFY_SOCKET={str(tmp_path / 'notify')!r}, WATCHDOG_USEC='200000'"

        def told() -> str:
            while (line := manager.recv(4096).decode().split("\n")[0]) == "WATCHDOG=1":
                beats.append(line)
            return line

        beats: list[str] = []
        with start_with(home, "--port", "0", "--workers", workers, variables=variables) as process:
            try:
                assert told() == "READY=1"
                process.send_signal(signal.SIGHUP)
                assert told() == "RELOADING=1"
                assert told() == "READY=1"
                assert manager.recv(4096) == b"WATCHDOG=1"
            finally:
                process.terminate()
            assert told() == "STOPPING=1"
            assert process.wait(PATIENCE) == 0
            assert process.stderr is not None
            process.stderr.read()


def test_each_line_but_the_first_is_json_where_that_is_asked_for(home: Home, token: str) -> None:
    with home.serve("--log-format", "json", "--access-log") as served:
        assert served.get(token).status == 200
        until(lambda: '"/api/secret"' in served.log)
    first, *rest = served.log.splitlines()
    assert first == f"oo: listening on {served.url}"
    version, *lines = [json.loads(line) for line in rest]
    assert (version["version"], version["workers"], version["plugins"]) == (oo.__version__, "1", "none")
    (call,) = [line for line in lines if line.get("path") == "/api/secret"]
    assert (call["status"], call["method"], call["logger"]) == (200, "GET", "oo.access")


PLUGIN = """
import os
import pathlib
import oo

class Marking:
    def __init__(self, mark):
        self.mark = mark

    async def __call__(self, request, call_next):
        response = await call_next(request)
        return response.replace(headers=response.headers.replace("X-Mark", self.mark))

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        mark = pathlib.Path(os.environ["MARK"]).read_text()
        with open(os.environ["MARK"] + ".read", "a") as reads:
            reads.write(f"{os.getpid()} {mark}\\n")
        return [(oo.Slot.CALL, Marking(mark))]

plugin = Plugin()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_plugins_settings_are_read_again(tmp_path: Path, workers: str) -> None:
    about = tmp_path / "site" / "acme_marking-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-marking\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[oo]\nmarking = acme_marking:plugin\n")
    (tmp_path / "site" / "acme_marking.py").write_text(PLUGIN)
    mark = tmp_path / "mark"
    mark.write_text("first")
    reads = tmp_path / "mark.read"
    home = Home(tmp_path / "home", PYTHONPATH=str(tmp_path / "site"), OO_PLUGINS="off", MARK=str(mark)).made()

    def marks() -> set[str | None]:
        return {served.get(None, "/health").headers.get("X-Mark") for _ in range(10)}

    with home.serve("--plugins", "marking", "--workers", workers) as served:
        assert marks() == {"first"}
        until(lambda: workers == "1" or len(served.workers()) == 2)
        time.sleep(1)  # a worker that is not up yet reads what is there then
        before = served.workers()
        mark.write_text("second")
        served.process.send_signal(signal.SIGHUP)
        processes = before if workers == "2" else [served.process.pid]
        # One that is idle takes all connections while the other reads.
        until(lambda: {f"{each} second" for each in processes} <= {*reads.read_text().splitlines()})
        until(lambda: marks() == {"second"})
        mark.unlink()
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "the plugins stay as they were" in served.log)
        assert (marks(), served.workers()) == ({"second"}, before)
        mark.write_text("third")  # which the workers need that take the place of these


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what waits on a socket that is closed is reset")
@pytest.mark.parametrize("all_told", [False, True], ids=["", "each told"])
@pytest.mark.parametrize(
    "options",
    [[], ["--workers", "2"], ["--reuse-port"], ["--reuse-port", "--workers", "2"], ["--uds", "{}/oo.sock"]],
    ids=["one", "two", "shared", "two shared", "uds"],
)
def test_who_connects_as_it_ends_is_answered_or_refused_and_never_reset(
    home: Home, token: str, tmp_path: Path, options: list[str], all_told: bool
) -> None:
    if all_told and "--workers" not in options:
        pytest.skip("there is one process")
    request = f"GET /api/secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    answers: Counter[bytes] = Counter()

    def call_until_refused() -> None:
        while True:
            with socket.socket(socket.AF_UNIX if on_path else socket.AF_INET) as sock:
                sock.settimeout(PATIENCE)
                try:
                    sock.connect(address)
                except (ConnectionRefusedError, FileNotFoundError):
                    return
                sock.sendall(request.encode())
                answers[sock.recv(12)] += 1

    process = home.start("serve", "--port", "0", *(each.format(tmp_path) for each in options), stderr=subprocess.PIPE)
    with process, ThreadPoolExecutor(6) as pool:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().decode().split()[3]
            on_path = url.startswith("http+unix:")
            address: Any = str(tmp_path / "oo.sock") if on_path else ("127.0.0.1", int(url.rpartition(":")[2]))
            calling = [pool.submit(call_until_refused) for _ in range(6)]
            until(lambda: sum(answers.values()) > 100)
            for pid in (*(children(process.pid) if all_told else ()), process.pid):  # systemd's KillMode=control-group
                os.kill(pid, signal.SIGTERM)
            for each in calling:
                each.result(PATIENCE)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert set(answers) == {b"HTTP/1.1 200"}
