"""Real plugins: third-party distributions that pip installs beside this one into a fresh environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import BODY, READ, answer, serving
from tests.support.fresh import Fresh, build

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"
dependencies = ["double-o"]

[project.entry-points.oo]
{points}

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""

TOOLS = """
import oo

events = []
told = []


class Recorder:
    def __init__(self, name):
        self.name = name

    async def __call__(self, request, call_next):
        events.append(f"> {self.name}" + (" with the token" if "Authorization" in request.headers else ""))
        try:
            response = await call_next(request)
        except oo.DoubleOError as error:
            events.append(f"< {self.name} {type(error).__name__}")
            raise
        events.append(f"< {self.name} {response.status}")
        return response


class RecorderPlugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        told.append({**vars(client)})
        return [(slot, Recorder(slot.value)) for slot in reversed(oo.Slot)]


class AuditPlugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        return [(oo.Slot.CALL, Recorder("audit"))]


recorder, audit = RecorderPlugin(), AuditPlugin()
"""

BREAKS_AT_IMPORT = """
raise RuntimeError("no such license")
"""

BREAKS_IN_ITS_HOOK = """
import oo

@oo.hookimpl
def oo_middleware(client):
    raise KeyError("no such setting")
"""

ASKS_FOR_TOO_MUCH = """
import oo

@oo.hookimpl
def oo_middleware(client, token):
    return []
"""

READS_SETTINGS = """
import oo

async def stamp(request, call_next):
    team = request.context.settings("stamp").get("team", "nobody")
    return await call_next(request.with_header("X-Team", team))

@oo.hookimpl
def oo_middleware(client):
    return [(oo.Slot.FETCH, stamp)]
"""

# Distribution, module, entry points, source.
DISTRIBUTIONS = (
    ("acme-tools", "acme_tools", {"recorder": "acme_tools:recorder", "audit": "acme_tools:audit"}, TOOLS),
    ("acme-licensed", "acme_licensed", {"licensed": "acme_licensed"}, BREAKS_AT_IMPORT),
    ("acme-clumsy", "acme_clumsy", {"clumsy": "acme_clumsy"}, BREAKS_IN_ITS_HOOK),
    ("acme-stamp", "acme_stamp", {"stamp": "acme_stamp"}, READS_SETTINGS),
    ("acme-curious", "acme_curious", {"curious": "acme_curious"}, ASKS_FOR_TOO_MUCH),
)
BROKEN = {"licensed": "acme-licensed", "clumsy": "acme-clumsy", "curious": "acme-curious"}

# Fetches one secret twice, and says what the recorder saw.
PROGRAM = """
import asyncio, json, sys, warnings
import oo

world, url, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
settings = {"retries": 1, "backoff_factor": 0.001, **settings}

def blocking():
    with oo.Client(url, cache=oo.SecretCache(), **settings) as client:
        return [client.get_secret("a-token", cache_ttl=60) for _ in range(2)]

async def asynchronous():
    async with oo.AsyncClient(url, cache=oo.SecretCache(), **settings) as client:
        return [await client.get_secret("a-token", cache_ttl=60) for _ in range(2)]

values = blocking() if world == "blocking" else asyncio.run(asynchronous())
oo.Client(plugins=settings.get("plugins", True)).close()
tools = sys.modules.get("acme_tools")
print(json.dumps({
    "values": values,
    "events": tools and tools.events,
    "told": tools and tools.told,
    "modules": sorted(name for name in sys.modules if name.startswith("acme_")),
}))
"""

SECRET = json.loads(BODY)["value"]
IN_SLOTS = [
    "> call",
    "> fetch",
    "> attempt",
    "> wire with the token",
    "< wire 503",
    "< attempt SecretError",
    "> attempt",
    "> wire with the token",
    "< wire 200",
    "< attempt 200",
    "< fetch 200",
    "< call 200",
    "> call",
    "< call 200",
]
"""A 503, then an answer, then a cached one: what each slot sees of it."""

both_worlds = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Fresh:
    home = tmp_path_factory.mktemp("distribution")
    for name, module, points, source in DISTRIBUTIONS:
        tree = home / name
        tree.mkdir()
        lines = "\n".join(f'{point} = "{target}"' for point, target in points.items())
        (tree / "pyproject.toml").write_text(PYPROJECT.format(name=name, module=module, points=lines))
        (tree / f"{module}.py").write_text(source)
    wheels = build([home / name for name, *_ in DISTRIBUTIONS], home / "wheels")
    (home / "program.py").write_text(PROGRAM)
    return Fresh(home, [wheel, *wheels], ["server", "cli"])


def start(installed: Fresh, kind: str, wanted: str | None, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the program against a server whose first answer is a 503; `wanted` is what OO_PLUGINS says."""
    env = {} if wanted is None else {"OO_PLUGINS": wanted}
    with serving([READ, answer(status=b"503 Service Unavailable")]) as server:
        program = ("-W", "always", str(installed.home / "program.py"))
        return installed.run(*program, kind, server.url, json.dumps(settings), env=env)


def saw(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the program printed, both of its calls having come to the secret."""
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    assert printed["values"] == [SECRET, SECRET]
    return printed


def quiet(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    return saw(done)


def left_out(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The warnings, each with the line that it points at."""
    return [line for line in done.stderr.splitlines() if "Warning" in line]


@both_worlds
def test_an_installed_plugin_runs_in_its_slot(installed: Fresh, kind: str) -> None:
    assert quiet(start(installed, kind, "recorder"))["events"] == IN_SLOTS


@both_worlds
def test_a_plugin_is_told_what_is_built_and_no_token(installed: Fresh, kind: str) -> None:
    first, second = quiet(start(installed, kind, "recorder", retries=2))["told"]
    assert first.pop("base_url").startswith("http://127.0.0.1:")
    assert first == {"blocking": kind == "blocking", "retries": 2, "role": kind}
    assert second == {"base_url": "http://127.0.0.1:3001", "blocking": True, "retries": 0, "role": "blocking"}


@both_worlds
def test_plugins_off_loads_none(installed: Fresh, kind: str) -> None:
    assert quiet(start(installed, kind, "off"))["modules"] == []


@both_worlds
def test_plugins_by_name_loads_those_alone(installed: Fresh, kind: str) -> None:
    printed = quiet(start(installed, kind, "audit"))
    assert printed["events"] == ["> audit", "< audit 200"] * 2
    assert printed["modules"] == ["acme_tools"]


def test_several_names_may_stand_with_spaces_and_the_order_is_by_name(installed: Fresh) -> None:
    events = quiet(start(installed, "blocking", " recorder , audit"))["events"]
    assert events[:2] == ["> audit", "> call"]
    assert events[-2:] == ["< call 200", "< audit 200"]


@both_worlds
def test_a_client_without_plugins_loads_none(installed: Fresh, kind: str) -> None:
    assert quiet(start(installed, kind, None, plugins=False))["modules"] == []


@both_worlds
@pytest.mark.parametrize("broken", sorted(BROKEN))
def test_a_broken_plugin_is_left_out_with_one_warning(installed: Fresh, kind: str, broken: str) -> None:
    done = start(installed, kind, f"{broken},recorder")
    (warning,) = left_out(done)
    assert f"RuntimeWarning: plugin {broken} of distribution {BROKEN[broken]} is left out: " in warning
    assert saw(done)["events"] == IN_SLOTS


@both_worlds
def test_all_that_is_installed_runs_but_what_is_broken(installed: Fresh, kind: str) -> None:
    done = start(installed, kind, None)
    assert sorted(line.split(" of distribution ")[1].split()[0] for line in left_out(done)) == sorted(BROKEN.values())
    assert [event for event in saw(done)["events"] if "audit" not in event] == IN_SLOTS


def test_the_warning_points_at_the_line_that_made_the_client_and_says_why(installed: Fresh) -> None:
    line = next(number for number, text in enumerate(PROGRAM.splitlines(), 1) if "with oo.Client" in text)
    for broken, why in {
        "licensed": "RuntimeError: no such license",
        "clumsy": "KeyError: 'no such setting'",
        "curious": "token",
    }.items():
        done = start(installed, "blocking", broken)
        (warning,) = left_out(done)
        assert warning.startswith(f"{installed.home / 'program.py'}:{line}: RuntimeWarning: ")
        assert why in done.stderr.partition("is left out: ")[2]


def test_where_warnings_are_errors_a_broken_plugin_takes_no_other_with_it(installed: Fresh) -> None:
    code = """if True:
        import oo
        for _ in range(3):
            try:
                oo.Client().close()
                print("a client")
            except RuntimeWarning as warning:
                print(str(warning).partition(" is left out")[0])
        import acme_tools
        print(len(acme_tools.told))
    """
    done = installed.run("-W", "error", "-c", code, env={"OO_PLUGINS": "curious,licensed,recorder"})
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "plugin curious of distribution acme-curious",
        "plugin licensed of distribution acme-licensed",
        "a client",
        "1",
    ]


def test_entry_points_are_scanned_once_and_not_by_importing_oo(installed: Fresh) -> None:
    code = """if True:
        import sys
        import oo
        print(sorted(name for name in sys.modules if name.startswith(("acme_", "importlib.metadata"))))

        import importlib.metadata
        scan, scans = importlib.metadata.entry_points, []
        importlib.metadata.entry_points = lambda **asked: scans.append(asked) or scan(**asked)
        oo.Client, oo.AsyncClient, oo.get_secret, oo.Slot, oo.default_middleware()
        oo.Client(plugins=False).close()
        print(scans)
        oo.Client().close()
        oo.Client().close()
        oo.AsyncClient()
        print(scans)
    """
    done = installed.run("-W", "error", "-c", code, env={"OO_PLUGINS": "recorder"})
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "[]", "[{'group': 'oo'}]"]


SERVED = """
import subprocess, sys
import oo

oo_command, url = sys.argv[1:]

def run(*arguments):
    return subprocess.run([oo_command, *arguments], check=True, capture_output=True, text=True).stdout.strip()

run("init")
run("route", "set", "api", "--upstream", url, "--allow-private", "--with", "stamp team=blue")
run("route", "set", "plain", "--upstream", url, "--allow-private")
tokens = [run("token", "issue", "--route", name) for name in ("api", "plain", "api")]
command = [oo_command, "serve", "--port", "0", "--plugins", "stamp"]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
    try:
        where = serving.stderr.readline().split()[-1]
        for token in tokens[:2]:
            oo.proxy("v1/x", token, "GET", base_url=where)
        run("route", "update", "api", "--with", "stamp team=red")
        oo.proxy("v1/x", tokens[2], "GET", base_url=where)
    finally:
        serving.terminate()
"""


def test_a_route_hands_settings_to_an_installed_plugin(installed: Fresh, tmp_path: Path) -> None:
    env = {"OO_HOME": str(tmp_path / "home"), "OO_PLUGINS": "off"}
    with serving() as server:
        done = installed.run("-W", "error", "-c", SERVED, str(installed.scripts / "oo"), server.url, env=env)
        assert done.returncode == 0, done.stderr
        teams = [line for request in server.requests for line in request.split(b"\r\n") if line.startswith(b"X-Team")]
    assert teams == [b"X-Team: blue", b"X-Team: nobody", b"X-Team: red"]


def test_the_command_lists_what_is_in_force_with_its_distribution(installed: Fresh) -> None:
    done = installed.command(str(installed.scripts / "oo"), "plugins", "--json", env={"OO_PLUGINS": "audit,curious"})
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert listed["plugins"] == [{"plugin": "audit", "distribution": "acme-tools"}]
    assert "acme_tools.Recorder" in listed["chain"]
