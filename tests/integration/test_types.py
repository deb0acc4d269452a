"""What mypy says, in strict mode, of programs that use the installed package."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.fresh import Fresh

ACCEPTED = """
from collections.abc import Iterable
from typing import Any

from typing_extensions import assert_type

import oo
from oo.testing import MockTransport, VirtualClock


async def stamp(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    response = await call_next(request.with_header("X-Team", "blue"))
    assert_type(response, oo.Response)
    assert_type(response.status, int)
    await call_next.io.sleep(0.1)
    return response


class Timer:
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request)


middleware: list[oo.Middleware] = [stamp, Timer(), *oo.default_middleware(retries=3)]

with oo.Client("http://localhost:3001", 30, 3, 0.5, middleware=middleware) as client:
    assert_type(client, oo.Client)
    assert_type(client.get_secret("t", cache_ttl=300), str)
    assert_type(client.get_env("t"), dict[str, str])
    assert_type(client.load_env("t", allow={"PATH"}), dict[str, str])
    assert_type(client.export_env("t", ".env"), dict[str, str])
    assert_type(client.chat_completion("t", [{"role": "user", "content": "Hello!"}]), dict[str, Any])
    assert_type(client.embed("t", ["a"]), dict[str, Any])
    assert_type(client.health(), bool)
    client.proxy("v1/models?limit=5", "t", method="GET", headers={"X-Team": "blue"})
    client.proxy("v1/things", "t", payload={"a": [1, 2.5, None, {"b": True}]})

oo.Client(middleware=[stamp])
oo.Client(middleware=[stamp, Timer(), oo.Cache(oo.SecretCache()), oo.Retry(3), oo.ErrorMapping(), oo.BearerAuth()])
oo.Client(middleware=(stamp, oo.Logging()))
oo.Client(transport=MockTransport([503, {"value": "s"}], io=VirtualClock()))


async def main() -> None:
    async with oo.AsyncClient(retries=3, middleware=[stamp]) as client:
        assert_type(client, oo.AsyncClient)
        assert_type(await client.get_secret("t", 300), str)
        assert_type(await client.get_env("t"), dict[str, str])
        assert_type(await client.chat_completion("t", [{"role": "user", "content": "Hello!"}]), dict[str, Any])
        assert_type(await client.health(), bool)


assert_type(oo.get_secret("t", "http://localhost:3001", 300), str)
assert_type(oo.get_env("t"), dict[str, str])
assert_type(oo.load_env("t"), dict[str, str])
assert_type(oo.chat("t", [{"role": "user", "content": "Hello!"}], temperature=0.5), dict[str, Any])
assert_type(oo.health(), bool)
oo.invalidate_cache()

try:
    oo.get_secret("t")
except (oo.SecretError, oo.AuthenticationError) as error:
    assert_type(error.status, int | None)
    assert_type(error.retry_after, float | None)
    assert_type(error.attempts, int)
    assert_type(error.retryable, bool)


class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> Iterable[tuple[oo.Slot, oo.Middleware]]:
        assert_type(client.base_url, str)
        assert_type(client.blocking, bool)
        assert_type(client.retries, int)
        return [(oo.Slot.CALL, Timer()), (oo.Slot.WIRE, stamp)]


assert_type(oo.register(Plugin(), "timer"), str)
assert_type(Plugin().oo_middleware(oo.ClientInfo("", True, 0)), Iterable[tuple[oo.Slot, oo.Middleware]])
assert_type(list(oo.Slot), list[oo.Slot])
"""

# Each line that ends in `# refused: CODE` is an error of that code, and nothing else is.
REFUSED = """
import oo


def plain(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    raise NotImplementedError


async def stamp(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request)


async def lonely(request: oo.Request) -> oo.Response:
    raise NotImplementedError


async def forgetful(request: oo.Request, call_next: oo.CallNext) -> None:
    await call_next(request)


class Timer:
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request)


oo.Client(middleware=[plain])  # refused: list-item
oo.AsyncClient(middleware=[plain])  # refused: list-item
oo.Client(middleware=[lonely])  # refused: list-item
oo.Client(middleware=[forgetful])  # refused: list-item
oo.Client(middleware=[Timer])  # refused: list-item
oo.Client(middleware=stamp)  # refused: arg-type
oo.Client(cache_ttl=5)  # refused: call-arg
number: int = oo.get_secret("t")  # refused: assignment
oo.get_secret(b"t")  # refused: arg-type
oo.Slot.NOWHERE  # refused: attr-defined


async def main() -> None:
    async with oo.AsyncClient() as client:
        text: str = client.get_secret("t")  # refused: assignment


class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, oo.Middleware]]:
        client.retries = 5  # refused: misc
        client.token  # refused: attr-defined
        return [("call", stamp)]  # refused: list-item
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, core: Fresh) -> list[str]:
    """The errors of both programs, from one run."""
    home = tmp_path_factory.mktemp("types")
    (home / "accepted.py").write_text(ACCEPTED)
    (home / "refused.py").write_text(REFUSED)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(core.python)]
    done = subprocess.run(
        [*command, "--config-file", "", "--cache-dir", str(home / "cache"), "accepted.py", "refused.py"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, ""), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]


def test_a_program_that_uses_the_whole_api_is_accepted(said: list[str]) -> None:
    assert [line for line in said if line.startswith("accepted.py")] == []


def test_misuse_is_refused_where_it_stands_and_nowhere_else(said: list[str]) -> None:
    wanted = {
        f"refused.py:{number} {found[1]}"
        for number, line in enumerate(REFUSED.splitlines(), 1)
        if (found := re.search(r"# refused: ([\w-]+)$", line))
    }
    errors = {re.sub(r"^(refused\.py:\d+): .*\[([\w-]+)\]$", r"\1 \2", line) for line in said if "refused.py" in line}
    assert errors == wanted
