"""`oo serve --admin`: what is counted over two workers, and kept of one that is killed."""

from __future__ import annotations

import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import oo
from oo.gateway.models import Route, Upstream
from tests.support.certificates import self_signed
from tests.support.faults import answer, nobody, serving
from tests.support.processes import Home, get, kill, needs_proc, until
from tests.support.waiting import PATIENCE


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").made(a="value of a")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def counted(text: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for each in families
        for sample in each.samples
    }


def assert_right(now: dict[tuple[str, ...], float]) -> None:
    assert now["oo_calls_total", "secret", "allowed", "", "2xx"] == 40
    assert now["oo_calls_total", "proxy", "allowed", "api", "2xx"] == 40
    assert now["oo_refused_total", "malformed"] == 1
    assert now["oo_call_seconds_count", "api"] == now["oo_masked_total",] == 40
    assert sorted(value for key, value in now.items() if key[0] == "oo_token_calls_total") == [40, 40]


@needs_proc
def test_it_is_right_to_the_call_over_two_workers_and_what_a_killed_one_counted_is_kept(home: Home) -> None:
    port = free_port()
    with serving(reply=lambda _sent: answer(b'{"echo": "the-key-itself"}')) as upstream:
        home.secret("key", "the-key-itself")
        inject = {"X-Key": "{key}"}
        home.run(lambda vault: vault.put_route(Route("api", upstream.url, inject, allow_private=True)))
        route, secret = home.token("route", "api"), home.token("secret", "a")
        with home.serve("--workers", "2", "--admin", f"127.0.0.1:{port}") as served:
            until(lambda: len(served.workers()) == 2)

            def found() -> dict[tuple[str, ...], float]:
                return counted(get(f"http://127.0.0.1:{port}", None, "/metrics").body)

            for _ in range(40):
                assert served.get(secret).status == 200
                assert served.get(route, "/api/proxy/x").status == 200
            assert served.get("nonsense").status == 401
            until(lambda: sum(key[0] == "process_open_fds" for key in found()) == 2)
            until(lambda: {value for key, value in found().items() if key[0] == "oo_open_calls"} <= {0})
            assert_right(found())
            killed, _ = served.workers()
            kill(killed)
            until(lambda: len(served.workers()) == 2 and killed not in served.workers())
            assert_right(found())
            assert served.get(None, "/metrics").status == 404  # never on the callers' port


def test_what_is_under_way_and_which_upstream_rests_is_told(home: Home) -> None:
    over, port = threading.Event(), free_port()

    def reply(_sent: bytes) -> bytes:
        over.wait(PATIENCE)
        return answer()

    with serving(reply=reply) as upstream, nobody() as dead:
        route = Route("api", upstream.url, others=(Upstream(dead),), allow_private=True)
        home.run(lambda vault: vault.put_route(route))
        token = home.token("route", "api", label="t")
        with home.serve("--admin", f"127.0.0.1:{port}") as served, ThreadPoolExecutor(12) as pool:

            def found() -> dict[tuple[str, ...], float]:
                return counted(get(f"http://127.0.0.1:{port}", None, "/metrics").body)

            calls = [pool.submit(served.get, token, "/api/proxy/x") for _ in range(12)]
            key = "oo_open_calls", "api", home.token_id("t")
            until(lambda: found().get(key) == 12)
            rests = {key[1:]: value for key, value in found().items() if key[0] == "oo_upstream_rests"}
            over.set()
            assert {each.result().status for each in calls} == {200}
            assert rests == {("1", "api", dead.removeprefix("http://")): 1.0}
            until(lambda: found()[key] == 0)


def test_the_listener_may_be_a_unix_socket(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with home.serve("--admin", str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert oo.health(base_url=f"http+unix://{str(path).replace('/', '%2F')}")
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--admin", "0.0.0.0:0"], "0.0.0.0 is not loopback: --admin needs TLS"),
        (["--admin", "nonsense"], "--admin nonsense cannot be listened on: it is neither HOST:PORT nor a path"),
        (["--admin", "127.0.0.1:0", "--metrics-token-file", "none"], "none cannot be read"),
    ],
)
def test_what_is_not_safe_is_refused(home: Home, options: list[str], said: str) -> None:
    done = home.oo("serve", "--port", "0", *options)
    assert done.returncode == 1
    assert said in done.stderr


def test_off_loopback_it_takes_tls_and_a_token(home: Home, tmp_path: Path) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    tls = ["--tls-cert", made.file, "--tls-key", made.both]
    assert "--admin needs TLS" in home.oo("serve", "--port", "0", "--admin", "0.0.0.0:0", *tls).stderr
    with home.serve("--admin", "0.0.0.0:0", "--metrics-token-file", str(token), *tls):
        pass
