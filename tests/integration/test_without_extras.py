"""The wheel, and what works of it where nothing but the core dependencies is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import oo
import oo.testing
from tests.support.fresh import ROOT, Fresh, metadata
from tests.support.upstream import OpenAI

EXTRAS = (
    "aiohttp",
    "asyncpg",
    "caio",
    "click",
    "cryptography",
    "dotenv",
    "opentelemetry",
    "platformdirs",
    "prometheus_client",
    "rich",
    "uvloop",
)
PARTS = ("async", "retry", "server", "cli", "postgres", "metrics", "otel", "speed")


@pytest.fixture
def about(wheel: Path) -> Distribution:
    return metadata(wheel)


@pytest.fixture
def packed(wheel: Path) -> Iterator[set[str]]:
    with ZipFile(wheel) as archive:
        yield set(archive.namelist())


def python(core: Fresh, code: str, **env: str) -> str:
    """What code prints where there are no extras, every warning being an error."""
    done = core.run("-W", "error", "-c", code, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_wheel_holds_every_module_its_types_and_nothing_beside_them(packed: set[str]) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "oo").rglob("*.py")}
    assert len(sources) > 30
    assert {name for name in packed if ".dist-info/" not in name} == {*sources, "oo/py.typed"}


def test_the_wheel_holds_the_license(packed: set[str]) -> None:
    assert [name for name in packed if name.endswith(".dist-info/licenses/LICENSE")]


def test_the_metadata_say_what_an_installer_asks(about: Distribution) -> None:
    said = about.metadata
    assert (about.name, about.version) == ("double-o", oo.__version__)
    assert (said["License-Expression"], said["Requires-Python"]) == ("MIT", ">=3.10")
    assert set(said.get_all("Provides-Extra") or ()) == {*PARTS, "all", "dev"}
    assert {(each.name, each.value) for each in about.entry_points} == {("oo", "oo.cli:main")}


def brings(about: Distribution, extra: str) -> set[str]:
    """What an extra installs beside the core."""
    wanted = [Requirement(each) for each in about.requires or ()]
    return {each.name for each in wanted if each.marker and each.marker.evaluate({"extra": extra})}


def test_each_extra_brings_what_it_is_for(about: Distribution) -> None:
    assert brings(about, "async") - {"async-timeout"} == {"aiohttp", "yarl"}
    assert brings(about, "retry") == set()
    assert brings(about, "server") >= {"aiohttp", "cryptography", "multidict"}
    assert brings(about, "cli") >= {"click", "rich"}
    assert brings(about, "postgres") == {"asyncpg"}
    assert brings(about, "metrics") == {"prometheus-client"}
    assert brings(about, "otel") == {"opentelemetry-api"}
    assert brings(about, "speed") <= {"caio", "uvloop"}  # which Windows has not


def test_all_is_every_other_extra_and_dev_has_it_too(about: Distribution) -> None:
    everything = set().union(*(brings(about, extra) for extra in PARTS))
    assert brings(about, "all") == everything
    assert brings(about, "dev") > {*everything, "pytest", "mypy", "black", "ruff"}


def test_the_core_requires_these_and_no_more(about: Distribution) -> None:
    wanted = [Requirement(each) for each in about.requires or ()]
    core = {each.name for each in wanted if each.marker is None}
    assert core == {"requests", "urllib3", "certifi", "backoff", "cachetools", "pluggy"}


def test_no_extra_is_there(core: Fresh) -> None:
    found = python(core, f"from importlib.util import find_spec; print([name for name in {EXTRAS} if find_spec(name)])")
    assert found == "[]"


def test_oo_is_the_one_that_pip_installed(core: Fresh) -> None:
    assert Path(python(core, "import oo; print(oo.__file__)")) == core.site / "oo" / "__init__.py"


def test_every_public_name_is_there(core: Fresh) -> None:
    names = python(core, "import oo; print(*[name for name in oo.__all__ if getattr(oo, name) is not None])")
    assert names.split() == oo.__all__


def test_a_client_makes_whole_calls(core: Fresh, gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    tokens = {
        "SECRET": gateway.secret("key", "s3cret"),
        "ENV": gateway.environment("web", {"MODE": "test"}),
        "ROUTE": gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"}),
    }
    code = """if True:
        import json, os, oo
        tokens = json.loads(os.environ["TOKENS"])
        with oo.Client(retries=1) as client:
            secrets = [client.get_secret(tokens["SECRET"], cache_ttl=60) for _ in range(2)]
            models = client.proxy("v1/models", tokens["ROUTE"], method="GET")
            answer = client.chat_completion(tokens["ROUTE"], [{"role": "user", "content": "Hello!"}])
            print(json.dumps([secrets, client.get_env(tokens["ENV"]), models["data"][0]["id"], answer["model"],
                client.health()]))
        assert oo.get_secret(tokens["SECRET"]) == "s3cret"
        assert oo.load_env(tokens["ENV"]) == {"MODE": os.environ["MODE"]}
    """
    printed = python(core, code, OO_BASE_URL=gateway.url, TOKENS=json.dumps(tokens))
    assert json.loads(printed) == [["s3cret", "s3cret"], {"MODE": "test"}, "gpt-4o-mini", "gpt-4o-mini", True]
    assert openai.keys == ["Bearer s3cret"] * 2


def test_errors_are_those_of_the_library(core: Fresh, gateway: oo.testing.LocalGateway) -> None:
    code = """if True:
        import oo
        try:
            oo.get_secret("no-such-token")
        except oo.AuthenticationError as error:
            print(error.status)
    """
    assert python(core, code, OO_BASE_URL=gateway.url) == "401"


def test_an_async_client_says_what_to_install(core: Fresh) -> None:
    code = """if True:
        import oo
        try:
            oo.AsyncClient()
        except ImportError as error:
            print(error)
    """
    assert python(core, code).endswith('pip install "double-o[async]"')


def test_a_mock_transport_serves_both_clients(core: Fresh) -> None:
    code = """if True:
        import asyncio, oo
        from oo.testing import MockTransport, VirtualClock

        clock = VirtualClock()
        with oo.Client(retries=1, transport=MockTransport([503, {"value": "blocking"}], io=clock)) as client:
            print(client.get_secret("any-token"), len(clock.sleeps))

        async def main():
            async with oo.AsyncClient(transport=MockTransport([{"value": "asyncio"}])) as client:
                print(await client.get_secret("any-token"))

        asyncio.run(main())
    """
    assert python(core, code).split("\n") == ["blocking 1", "asyncio"]


@pytest.mark.parametrize("arguments", [(), ("demo",), ("get", "--help")], ids=" ".join)
def test_the_command_says_what_to_install(core: Fresh, arguments: tuple[str, ...]) -> None:
    done = core.command(str(core.scripts / "oo"), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "double-o[cli]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
