from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import oo
from oo.gateway.keyring import write_keys
from oo.gateway.process import LoopErrorLog
from oo.gateway.sealing import new_key
from tests.support.certificates import self_signed
from tests.support.processes import Home, Serving, get, is_running, kill, needs_proc, until
from tests.support.waiting import PATIENCE, SOON

CANARY = "canary-c0de"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("serving") / "home").made(a=CANARY)


@pytest.fixture(scope="module")
def token(home: Home) -> str:
    return home.token("secret", "a")


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[Serving]:
    with home.serve() as served:
        yield served


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A certificate for 127.0.0.1 and its key, as `oo serve` takes them."""
    directory = tmp_path_factory.mktemp("tls")
    certificate = self_signed(directory, "127.0.0.1").file
    both = certificate.replace(".pem", ".both")
    return {"--tls-cert": certificate, "--tls-key": both}


def options(named: dict[str, str]) -> list[str]:
    return [word for pair in named.items() for word in pair]


def is_free(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((str(address.hostname), int(address.port or 0)))
        except OSError:
            return False
    return True


UNUSED = "aiohttp.web ctypes difflib importlib.metadata platformdirs pluggy zipfile"


def test_a_start_imports_nothing_that_a_gateway_without_plugins_has_no_use_for() -> None:
    script = f"import sys, oo.gateway.process; print(*sys.modules.keys() & {set(UNUSED.split())})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}  # which load more
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == []


LOOP = """
import asyncio, gc, sys
if sys.argv[1] == "without":
    sys.modules["uvloop"] = None
from oo.gateway import process
async def main():
    gc.disable()
    process._spare_garbage_collection()
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(loop, gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 700, gc.isenabled())
process.run_fast(main())
"""


@pytest.mark.parametrize(("uvloop", "loop"), [("with", "uvloop"), ("without", "asyncio")])
def test_a_process_answers_on_uvloop_where_it_is_there_and_spares_the_garbage_collection(
    uvloop: str, loop: str
) -> None:
    done = subprocess.run([sys.executable, "-c", LOOP, uvloop], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [loop, "True", "True", "True"]


@needs_proc
def test_a_killed_worker_is_replaced_and_calls_go_on(home: Home, token: str) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        killed, other = served.workers()
        kill(killed)
        assert {served.get(token).status for _ in range(20)} == {200}
        until(lambda: len(served.workers()) == 2 and killed not in served.workers())
        assert other in served.workers()
        (new,) = set(served.workers()) - {other}
        # The new one answers: it is the only one left that can.
        kill(other)
        assert {served.get(token).status for _ in range(20)} == {200}
        assert is_running(new)
        assert f"worker {killed} ended with -9; another takes its place" in served.log
    assert not any(map(is_running, (killed, other, new)))


@needs_proc
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_every_process_well(home: Home, token: str, workers: int) -> None:
    with home.serve("--workers", str(workers)) as served:
        until(lambda: len(served.workers()) == (workers if workers > 1 else 0))
        processes = served.workers()
        assert served.get(token).status == 200
        served.process.terminate()
        assert served.process.wait(SOON) == 0  # long before a supervisor would end its workers by force
    assert not any(map(is_running, processes))
    assert is_free(served.url)
    assert served.news == []
    assert served.log.startswith(f"oo: listening on {served.url}\noo: version {oo.__version__}, store {home.path}")
    assert f", workers {workers}, plugins none\n" in served.log
    assert served.log.count("this process ends: calls that were cut: 0\n") in range(
        1, workers + 1
    )  # one may not be up yet


@needs_proc
def test_workers_end_when_their_supervisor_was_killed(home: Home, token: str) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        processes = served.workers()
        until(lambda: served.get(token).status == 200)
        kill(served.process.pid)
        served.process.wait()
        until(lambda: not any(map(is_running, processes)))
        assert is_free(served.url)


@needs_proc
def test_workers_that_cannot_come_up_end_the_server_with_one_line_each(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made()
    with home.serve("--workers", "1") as one, home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        workers = served.workers()
        home.key.rename(tmp_path / "away")
        for worker in workers:
            kill(worker)
        assert served.process.wait(PATIENCE) == 1
        assert "Traceback" not in served.log
        # Of five in a row the two that were killed may be the first.
        assert served.log.count(f"oo: the master key of the vault in {home.path} is not at {home.key}") >= 2
        assert served.log.endswith("workers in a row did not come up\n")
        # Whoever has the key already needs it no more.
        assert one.get(None).status == 401


@contextmanager
def without_files(served: Serving) -> Iterator[None]:
    """A supervisor that cannot start a worker while the block runs."""
    import resource

    limits = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (4, limits[1]))
    try:
        yield
    finally:
        if served.process.poll() is None:
            resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, limits)


@needs_proc
def test_a_worker_that_cannot_be_started_is_tried_again_and_the_others_go_on(home: Home, token: str) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        killed, other = served.workers()
        with without_files(served):
            kill(killed)
            until(lambda: "oo: a worker could not be started: Too many open files" in served.log)
            assert served.get(token).status == 200
        until(lambda: len(served.workers()) == 2)
        assert other in served.workers()
        assert served.log.count("could not be started") == 1


@needs_proc
@pytest.mark.campaign
def test_a_server_that_can_start_no_worker_ends(home: Home) -> None:
    with home.serve("--workers", "2") as served:
        until(lambda: len(served.workers()) == 2)
        with without_files(served):
            for worker in served.workers():
                kill(worker)
            assert served.process.wait(PATIENCE) == 1
        assert served.log.count("could not be started") == 1
        assert served.log.endswith("workers in a row did not come up\n")
        assert "Traceback" not in served.log


def test_a_changed_secret_shows_at_once_in_a_running_server(home: Home, served: Serving) -> None:
    home.secret("changing", "first")
    token = home.token("secret", "changing")
    assert served.get(token).data == {"value": "first"}
    home.oo("secret", "set", "changing", "--from-file", "-", given="second\n")
    assert served.get(token).data == {"value": "second"}
    home.oo("secret", "rollback", "changing")
    assert served.get(token).data == {"value": "first"}


def test_nothing_but_loopback_is_listened_on_without_tls(home: Home) -> None:
    said = home.oo("serve", "--host", "0.0.0.0", "--port", "0")
    assert said.returncode == 1
    assert said.stderr.startswith("oo: 0.0.0.0 is not loopback: callers' tokens need TLS")
    assert said.stderr.count("\n") == 1


def test_with_tls_or_something_that_speaks_it_any_address_will_do(tmp_path: Path, tls: dict[str, str]) -> None:
    # The next thing to be asked for is the key: this test listens nowhere.
    for allowed in (["--behind-tls-proxy"], options(tls)):
        said = Home(tmp_path).oo("serve", "--host", "0.0.0.0", "--port", "0", *allowed)
        assert said.returncode == 1
        assert said.stderr.startswith("oo: there is no master key at ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_client_that_trusts_the_certificate_reaches_it_over_tls(
    home: Home, token: str, tls: dict[str, str], workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home.serve("--workers", workers, *options(tls)) as served:
        assert served.url.startswith("https://127.0.0.1:")
        with oo.Client(served.url) as client, pytest.raises(oo.SecretError):
            client.get_secret(token)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls["--tls-cert"])
        with oo.Client(served.url) as client:
            assert client.get_secret(token) == CANARY
        with pytest.raises(OSError, match=r"reset|closed|without response"):
            get(served.url.replace("https", "http"), token)
    assert "Traceback" not in served.log


def test_tls_files_that_do_not_fit_are_one_line(home: Home, tls: dict[str, str], tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"password")
    for name, encryption in (("other", serialization.NoEncryption()), ("locked", locked)):
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        (tmp_path / name).write_bytes(pem)
        said = home.oo("serve", "--port", "0", *options({**tls, "--tls-key": str(tmp_path / name)}))
        assert said.returncode == 1
        assert said.stderr.startswith("oo: the TLS files do not fit: ")
        assert said.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(home: Home, served: Serving) -> None:
    said = home.oo("serve", "--port", str(urlsplit(served.url).port))
    assert said.returncode == 1
    assert "ddress already in use" in said.stderr
    assert said.stderr.count("\n") == 1


def test_what_is_missing_or_wrong_is_said_in_one_line_and_nothing_is_made(tmp_path: Path, home: Home) -> None:
    empty, wrong = Home(tmp_path / "empty"), Home(tmp_path / "wrong")
    assert empty.oo("serve", "--port", "0").stderr.startswith(
        f"oo: there is no master key at {empty.key}: run `oo init`"
    )
    write_keys(wrong.key, [new_key()])
    assert wrong.oo("serve", "--port", "0").stderr.startswith(
        f"oo: there is no vault at {wrong.path / 'vault.db'}: run"
    )
    shutil.copy(home.path / "vault.db", wrong.path)
    for workers in ("1", "2"):
        said = wrong.oo("serve", "--port", "0", "--workers", workers)
        assert (said.returncode, said.stderr.count("\n")) == (1, 1)
        assert said.stderr.startswith("oo: the master key does not open the vault")
    assert not (tmp_path / "empty").exists()
    assert not (wrong.path / "audit.jsonl").exists()


def test_a_token_or_secret_is_in_no_log_and_no_error(home: Home, served: Serving, token: str) -> None:
    address = urlsplit(served.url)
    hostile = [
        f"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\x01\r\n\r\n",
        f"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n {token}\r\n\r\n",
        f"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {token}\r\n\r\n",
        f"GET /{token} HTTP/9.9\r\nHost: x\r\n\r\n",
        f"{token} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /api/proxy/{token} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        f"POST /api/proxy/x HTTP/1.1\r\nHost: x\r\nContent-Length: {token}\r\n\r\n",
        f"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token * 1000}\r\n\r\n",
        f"POST /api/secret HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n",
    ]
    for raw in hostile:
        with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as sock:
            sock.sendall(raw.encode() + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            try:
                while piece := sock.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
        assert token.encode() not in answer, raw[:60]
        assert CANARY.encode() not in answer
    for hidden in (token, token[3:46], CANARY, "Traceback"):
        assert hidden not in served.log


def test_readers_of_a_secret_that_is_set_over_and_over_see_whole_values(home: Home, served: Serving) -> None:
    values = [f"value {n} " * 1000 for n in range(50)]
    home.secret("busy", values[0])
    token, over = home.token("secret", "busy"), threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not over.is_set():
            seen.add(served.get(token).body)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for value in values:
            home.secret("busy", value)
    finally:
        over.set()
        reader.join(PATIENCE)
    assert seen <= {json.dumps({"value": value}) for value in values}
    assert len(seen) > 1


PLUGIN = """
import oo

class Marking:
    async def __call__(self, request, call_next):
        response = await call_next(request)
        return response.replace(headers=response.headers.replace("X-Plugin", "here"))

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        return [(oo.Slot.CALL, Marking())] if client.role == "gateway" else []

plugin = Plugin()
"""


@pytest.mark.parametrize("options", [["--plugins", "marking"], ["--plugins", "marking", "--workers", "2"], []])
def test_a_plugin_is_loaded_in_every_worker_where_it_is_named(tmp_path: Path, options: list[str]) -> None:
    about = tmp_path / "site" / "acme_marking-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-marking\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[oo]\nmarking = acme_marking:plugin\n")
    (tmp_path / "site" / "acme_marking.py").write_text(PLUGIN)
    home = Home(tmp_path / "home", PYTHONPATH=str(tmp_path / "site"), OO_PLUGINS="off").made()
    with home.serve(*options) as served:
        answers = [served.get(None, "/health").headers.get("X-Plugin") for _ in range(8)]
    assert set(answers) == {"here" if options else None}


def test_a_plugin_that_is_not_there_is_said_before_anybody_is_answered(home: Home) -> None:
    done = home.oo("serve", "--port", "0", "--plugins", "no-such")
    assert done.returncode == 1
    assert "plugin no-such cannot be loaded" in done.stderr
    assert "listening" not in done.stderr


def test_what_uvloop_writes_to_a_connection_that_was_reset_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def log() -> None:
        loop, (near, far) = asyncio.get_running_loop(), socket.socketpair()
        with far:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            transport.abort()
            await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError) as written:
                transport.write(b"a")
        for error in (written.value, RuntimeError("another")):
            LoopErrorLog()(loop, {"message": "Fatal error on SSL protocol", "exception": error})

    with caplog.at_level("ERROR"):
        uvloop.run(log())
    assert [record.getMessage() for record in caplog.records] == ["the event loop met a failure: RuntimeError"]
