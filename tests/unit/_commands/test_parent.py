"""The parent of a proxied program: its exit code, its signals, its folder, its forwarder."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oo._commands import _parent
from tests.support.certificates import self_signed
from tests.support.listening import Listener
from tests.support.waiting import PATIENCE


def parent(folder: Path, *command: str, gateway: str = "", **env: str) -> subprocess.Popen[str]:
    start = [sys.executable, "-I", _parent.__file__, str(folder), gateway, "--", *command]
    environ = {**os.environ, **env}
    return subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "files"
    place.mkdir()
    (place / "bundle.pem").write_text("")
    return place


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "kill -TERM $$"), -signal.SIGTERM, ""),
        (("/no/such",), 127, "oo: /no/such: No such file or directory\n"),
        (("/etc",), 126, "oo: /etc: Permission denied\n"),
    ],
)
def test_it_ends_as_its_command_did_and_the_folder_is_gone(
    command: tuple[str, ...], code: int, said: str, folder: Path
) -> None:
    with parent(folder, *command) as started:
        _, stderr = started.communicate(timeout=PATIENCE)
    assert (started.returncode, stderr) == (code, said)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"])
def test_a_signal_reaches_the_command(name: str, folder: Path) -> None:
    # Without a terminal nobody else tells the command of Ctrl-C.
    code = (
        "import signal, sys, time\n"
        f"signal.signal(signal.{name}, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    environ = dict(os.environ.items())
    start = [sys.executable, "-I", _parent.__file__, str(folder), "", "--", sys.executable, "-c", code]
    with subprocess.Popen(
        start,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        started.send_signal(getattr(signal, name))
        assert started.wait(PATIENCE) == 9
    assert not folder.exists()


class Echo(Listener):
    """Echoes one message, over TLS where it has a context."""

    tls: ssl.SSLContext | None = None

    def accepted(self, connection: socket.socket) -> None:
        self.start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            sock = connection if self.tls is None else self.tls.wrap_socket(connection, server_side=True)
            with sock:
                while data := sock.recv(1 << 16):
                    sock.sendall(data)
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as running:
        yield running


SPEAK = """if True:
    import os, socket
    host, port = os.environ["HTTPS_PROXY"].rpartition("@")[2].split(":")
    s = socket.create_connection((host, int(port)))
    n = 0
    for _ in range(15):
        s.sendall(b"x" * 20000)
        got = 0
        while got < 20000 and (d := s.recv(1 << 16)):
            got += len(d)
        n += got
        if got < 20000: break
    print(host, n)
"""


def forwarded(folder: Path, gateway: str) -> str:
    proxy = f"http://oo:t@{_parent.MARK}"
    with parent(folder, sys.executable, "-c", SPEAK, gateway=gateway, HTTPS_PROXY=proxy) as started:
        stdout, stderr = started.communicate(timeout=PATIENCE)
    assert stderr == ""
    return stdout


def test_a_forwarder_carries_to_a_gateway_over_tls(folder: Path, echo: Echo, tmp_path: Path) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    echo.tls = made.server
    (folder / "bundle.pem").write_text(Path(made.file).read_text())
    assert forwarded(folder, f"https://127.0.0.1:{echo.port}") == "127.0.0.1 300000\n"


def test_a_gateway_that_is_not_trusted_or_not_there_is_hung_up_on(folder: Path, echo: Echo, tmp_path: Path) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    echo.tls = made.server
    other = tmp_path / "other"
    other.mkdir()
    (folder / "bundle.pem").write_text(Path(self_signed(other, "127.0.0.1").file).read_text())
    for number, port in enumerate((echo.port, 1)):
        here = folder if number == 0 else tmp_path / "again"
        here.mkdir(exist_ok=True)
        if number:
            (here / "bundle.pem").write_text(Path(made.file).read_text())
        environ = {"HTTPS_PROXY": f"http://oo:t@{_parent.MARK}"}
        with parent(here, sys.executable, "-c", SPEAK, gateway=f"https://127.0.0.1:{port}", **environ) as started:
            stdout, stderr = started.communicate(timeout=PATIENCE)
        assert stdout == "127.0.0.1 0\n" or "ConnectionResetError" in stderr or "BrokenPipe" in stderr


def test_a_forwarder_carries_to_a_unix_socket(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        proxy = f"http://oo:t@{_parent.MARK}"
        gateway = "http+unix://" + str(path).replace("/", "%2F")
        with parent(folder, sys.executable, "-c", SPEAK, gateway=gateway, HTTPS_PROXY=proxy) as started:
            near, _ = listening.accept()
            with near:
                left = 300000
                while left:
                    data = near.recv(1 << 16)
                    near.sendall(data)
                    left -= len(data)
                stdout, _ = started.communicate(timeout=PATIENCE)
    assert stdout == "127.0.0.1 300000\n"


def test_inside_this_process(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before |= {number: signal.getsignal(number) for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)}
    try:
        assert _parent.run(str(folder), "", ["sh", "-c", "exit 3"]) == 3
        assert _parent.run(str(folder), "", ["bad\0name"]) == 126
        assert _parent.run(str(folder), "", ["/no/such"]) == 127
        code = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGTERM); time.sleep(60)"
        began = time.monotonic()
        assert _parent.run(str(folder), "", [sys.executable, "-c", code]) == -signal.SIGTERM
        assert time.monotonic() - began < 30
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not folder.exists()
