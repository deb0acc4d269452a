"""The real command in real processes: a vault in a directory, `oo` run on it, `oo serve` over it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from oo.gateway import keyring, sealing
from oo.gateway.models import Kind
from oo.gateway.vault import Vault
from tests.support.waiting import PATIENCE

T = TypeVar("T")

OO = [sys.executable, "-m", "oo.cli"]
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")


class Home:
    """A vault in a directory, with its master key beside it."""

    def __init__(self, path: Path, **environ: str) -> None:
        self.path = path
        self.key = keyring.key_path(path, {})
        # asyncio's debug mode would write into the logs how long each callback took.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OO_", "PYTHONDEVMODE"))}
        self.environ = {**kept, "OO_HOME": str(path), "PYTHONWARNINGS": "always::ResourceWarning", **environ}

    def made(self, **secrets: str) -> Home:
        """Make the vault, with some secrets in it."""
        keyring.write_keys(self.key, [sealing.new_key()])
        Vault.create(self.path, self.ring())
        for name, value in secrets.items():
            self.secret(name, value)
        return self

    def ring(self) -> sealing.MasterKeys:
        return keyring.load(self.path, {})

    def run(self, work: Callable[[Vault], Coroutine[Any, Any, T]]) -> T:
        """What some work on the open vault gives, done in this process."""

        async def opened() -> T:
            async with Vault(self.path, self.ring) as vault:
                return await work(vault)

        return asyncio.run(opened())

    def secret(self, name: str, value: str) -> int:
        return self.run(lambda vault: vault.put_secret(name, value))

    def token(self, kind: Kind, name: str, **terms: Any) -> str:
        return self.run(lambda vault: vault.issue(kind, name, **terms))

    def token_id(self, label: str) -> str:
        """The id of the one token with a label."""
        (found,) = [each.id for each in self.run(lambda vault: vault.tokens()) if each.label == label]
        return found

    def oo(self, *args: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """`oo` with some arguments, run to its end."""
        environment = {**self.environ, **environ}
        return subprocess.run(
            [*OO, *args], input=given, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )

    def start(self, *args: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*OO, *args], env=self.environ, **streams)

    @contextmanager
    def serve(self, *options: str) -> Iterator[Serving]:
        """`oo serve` on a free port; it must end well on SIGTERM, unless it was ended before."""
        log = self.path / "stderr.txt"
        with open(log, "wb") as stderr:
            process = self.start("serve", "--port", "0", *options, stderr=stderr, stdin=subprocess.DEVNULL)
        try:
            until(lambda: log.read_text().startswith("oo: listening on ") or process.poll() is not None)
            served = Serving(process, log, log.read_text().split()[3])
            until(lambda: served.is_up())
            yield served
            if process.poll() is None:
                process.terminate()
                assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


class Serving:
    """A running `oo serve`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process = process
        self._log = log
        self.url = url

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def news(self) -> list[str]:
        """What it said beside what every gateway says when it begins and ends."""
        usual = ("oo: listening on ", "oo: version ", "oo: this process ends: calls that were cut: 0")
        return [line for line in self.log.splitlines() if not line.startswith(usual)]

    def is_up(self) -> bool:
        if self.url.startswith("https:"):
            context = ssl._create_unverified_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                urlsplit(self.url).netloc, timeout=PATIENCE, context=context
            )
        else:
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def get(self, token: str | None, path: str = "/api/secret") -> Got:
        return get(self.url, token, path)

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        return children(self.process.pid)


class Got:
    """An answer: `status`, `headers`, `body` as text, `data` as JSON."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()

    @property
    def data(self) -> Any:
        return json.loads(self.body)


def get(url: str, token: str | None, path: str = "/api/secret", method: str = "GET", **fields: str) -> Got:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, headers={**headers, **fields})
        return Got(connection.getresponse())
    finally:
        connection.close()


def until(happened: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait for something; AssertionError where it does not come."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_running(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def files(directory: Path) -> bytes:
    """Everything that is in a directory's files."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@contextmanager
def reading(url: str, expected: dict[str, str]) -> Iterator[list[Any]]:
    """Read each token's secret over and over while the block runs; gives what was not as expected."""
    wrong: list[Any] = []
    stop = threading.Event()
    rounds = 0

    def read() -> None:
        nonlocal rounds
        while not stop.is_set():
            for token, value in expected.items():
                try:
                    got = get(url, token)
                    if (got.status, got.data) != (200, {"value": value}):
                        wrong.append((got.status, got.body))
                except OSError as error:
                    wrong.append(error)
            rounds += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        until(lambda: rounds >= 1)
        yield wrong
        done = rounds
        until(lambda: rounds > done + 1)
    finally:
        stop.set()
        reader.join(PATIENCE)
