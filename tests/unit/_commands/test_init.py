"""Every command there is, its options, and a help that shows how it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from oo import _commands as oo_commands
from oo._commands import oo
from tests.support.command import Inside
from tests.support.waiting import PATIENCE

CALLER = {"--token-file", "--base-url"}


CALLERS = {"get", "export", "run", "proxy-env", "proxy", "chat", "health"}
THINGS = {"--secret", "--env", "--route", "--bundle"}


ROUTE = {
    "--upstream",
    "--inject",
    "--allow",
    "--timeout",
    "--allow-private",
    "--allow-plain-http",
    "--allow-weak",
    "--websocket",
    "--pass-header",
    "--query",
    "--basic",
    "--credential",
    "--ca",
    "--cert",
    "--key",
    "--plugins",
    "--drop-header",
    "--retries",
    "--cors",
    "--with",
}


COMMANDS = {
    "init": set(),
    "secret set": {"--from-file"},
    "secret list": {"--json"},
    "secret show": {"--json", "--reveal"},
    "secret versions": {"--json"},
    "secret rollback": {"--to"},
    "secret rm": set(),
    "env set": {"--from-file", "--replace"},
    "env update": {"--from-file", "--drop"},
    "env list": {"--json"},
    "env show": {"--json"},
    "env rm": set(),
    "route set": {*ROUTE, "--replace"},
    "route update": {*ROUTE, "--drop", "--allow-all"},
    "route list": {"--json"},
    "route show": {"--json"},
    "route rm": set(),
    "token issue": {*THINGS, "--ttl", "--uses", "--rate", "--concurrency", "--label", "--json"},
    "token list": {*THINGS, "--state", "--label", "--json"},
    "bundle set": {"--route"},
    "bundle list": {"--json"},
    "bundle rm": set(),
    "ca show": {"--route", "--json"},
    "ca rotate": {"--now"},
    "token revoke": set(),
    "token prune": set(),
    "serve": {
        *("--host", "--port", "--workers", "--tls-cert", "--tls-key", "--behind-tls-proxy", "--plugins"),
        *(
            "--audit",
            "--audit-required",
            "--trust-proxy",
            "--uds",
            "--uds-mode",
            "--reuse-port",
            "--grace",
            "--elsewhere",
            "--max-conns",
        ),
        *(
            "--log-format",
            "--log-level",
            "--access-log",
            "--config",
            "--check",
            "--admin",
            "--metrics-token-file",
            "--traces",
        ),
    },
    "audit": {"--follow", "-f", "--file", "--since", "--token", "--route", "--outcome", "--json"},
    "top": {"--admin", "--token-file", "--interval", "--once", "--json"},
    "rekey": {"--deep"},
    "store status": {"--json"},
    "store backup": set(),
    "store restore": set(),
    "migrate": {"--to"},
    "get": CALLER,
    "export": {*CALLER, "--append", "--allow", "--only", "--format"},
    "run": {*CALLER, "--allow", "--only", "--proxied", "--placeholder", "--env-token-file"},
    "proxy-env": {*CALLER, "--shell", "--dir", "--placeholder"},
    "proxy": {*CALLER, "--method", "-X", "--data", "-d", "--header", "-H", "--output", "-o", "--include", "-i"},
    "chat": {*CALLER, "--model", "--system", "--timeout"},
    "health": {"--base-url"},
    "explain": {"--plugins", "--token-file"},
    "plugins": {"--json", "--gateway", "--plugins"},
    "demo": set(),
}


"""Each command's options. None takes a token: an argument is seen by everybody on the machine."""


def test_a_command_is_listed_by_what_its_own_help_begins_with() -> None:
    listed = {name: summary for name, (_, summary) in oo_commands.COMMANDS.items()}
    assert listed == {name: command.get_short_help_str(100) for name, command in oo.commands.items()}


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_the_commands_and_their_options_are_these() -> None:
    found = {
        path: {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
        for path, command in leaves(oo)
    }
    assert found == {path: {*options, *({"--store"} & found[path])} for path, options in COMMANDS.items()}
    assert {path for path, options in found.items() if "--store" not in options} == {*CALLERS, "plugins", "demo", "top"}


@pytest.mark.parametrize("path", ["", "secret", "env", "route", "token", *COMMANDS])
def test_help_holds_an_example_of_the_command_itself(path: str, inside: Inside) -> None:
    result = inside(*path.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    _, found, example = result.stdout.partition("Example:")
    assert found
    assert f"oo {path}".rstrip() in example


@pytest.mark.parametrize("path", [path for path, options in COMMANDS.items() if options >= CALLER])
def test_a_command_that_calls_says_where_its_token_comes_from(path: str, inside: Inside) -> None:
    text = " ".join(inside(path, "--help").stdout.split())
    assert "--token-file" in text
    assert "OO_TOKEN or standard input" in text


def test_the_commands_stand_in_the_order_of_their_use(inside: Inside) -> None:
    text = inside("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in text.strip().splitlines()][:7] == [
        *("init", "secret", "env", "route", "token", "serve", "audit")
    ]
    assert "..." not in text  # no sentence is cut


def test_the_version_is_said(inside: Inside) -> None:
    import oo as package

    assert inside("--version").stdout == f"oo, version {package.__version__}\n"


@pytest.mark.parametrize("group", [(), ("secret",), ("env",), ("route",), ("token",)], ids=" ".join)
def test_a_group_alone_shows_its_help(group: tuple[str, ...], inside: Inside) -> None:
    result = inside(*group)
    assert result.exit_code in (0, 2)  # 2 from click 8.2 on
    assert "Usage: oo" in result.output


def test_help_loads_nothing_that_is_slow() -> None:
    code = """if True:
        import sys
        sys.argv = ["oo", "--help"]
        from oo.cli import main
        try:
            main()
        except SystemExit as end:
            assert not end.code
        print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
    """
    # What measures coverage in a process loads more.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True, env=env
    )
    assert "Usage: oo" in done.stdout
    loaded = set(eval(done.stderr))
    assert {"oo", "click"} <= loaded
    slow = "aiohttp asyncio cryptography dotenv http json platformdirs pluggy requests rich sqlite3 ssl urllib3".split()
    assert loaded.isdisjoint(slow)
