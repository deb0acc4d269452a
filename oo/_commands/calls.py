"""The commands that call a gateway: get, export, run, proxy, chat, health; and plugins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, errors, fail, table

if TYPE_CHECKING:
    from .. import Client

F = TypeVar("F", bound=Callable[..., Any])

_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")


def _caller(command: F) -> F:
    """The options of a command that calls with a token."""
    for option in (
        click.option("--token-file", type=click.Path(exists=True, dir_okay=False), help="A file that holds the token."),
        click.option(
            "--base-url", metavar="URL", help="The gateway; OO_BASE_URL or http://localhost:3001, unless told."
        ),
    ):
        command = option(command)
    return command


@click.command()
@_caller
def get(token_file: str | None, base_url: str | None) -> None:
    """Print the secret that the token opens, with no newline after it in a pipe.

    The token comes from --token-file, OO_TOKEN or standard input, never from an argument.

    Example: OO_TOKEN=... oo get
    """
    with _client(base_url) as client:
        click.echo(client.get_secret(_token(token_file)), nl=sys.stdout.isatty())


@click.command()
@click.argument("path", default=".env")
@click.option("--append", is_flag=True, help="Add to the file instead of replacing it.")
@click.option("--allow", multiple=True, metavar="NAME", help="Take this variable though it steers how programs load.")
@_caller
def export(path: str, append: bool, allow: tuple[str, ...], token_file: str | None, base_url: str | None) -> None:
    """Write the environment that the token opens to a file of mode 0600.

    Example: OO_TOKEN=... oo export .env
    """
    with _client(base_url) as client:
        env = client.export_env(_token(token_file), path, not append, allow=allow)
    click.echo(f"{len(env)} variables in {path}", err=True)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, metavar="-- CMD ...")
@click.option("--allow", multiple=True, metavar="NAME", help="Take this variable though it steers how programs load.")
@_caller
def run(command: tuple[str, ...], allow: tuple[str, ...], token_file: str | None, base_url: str | None) -> None:
    """Run a command with the environment that the token opens. The command is not started where that fails; its exit
    code is this one's, 128 + n where signal n ended it.

    Example: OO_TOKEN=... oo run -- python app.py
    """
    from .._dotenv import check

    with _client(base_url) as client:
        variables = client.get_env(_token(token_file))
        check(variables, allow)
    environment = {name: value for name, value in os.environ.items() if name != "OO_TOKEN"}
    sys.exit(_run(command, {**environment, **variables}))


@click.command()
@click.argument("path")
@click.option("-X", "--method", metavar="METHOD", help="The method; GET without a payload, POST with one.")
@click.option(
    "-d", "--data", metavar="JSON|@FILE", help="The payload, or the file that holds it; @- for standard input."
)
@_caller
def proxy(path: str, method: str | None, data: str | None, token_file: str | None, base_url: str | None) -> None:
    """Call the API behind the token's route and print its JSON.

    Example: OO_TOKEN=... oo proxy v1/models
    """
    token = _token(token_file)
    payload = None if data is None else _payload(data)
    with _client(base_url) as client:
        answer = client.proxy(path, token, method or ("GET" if data is None else "POST"), payload)
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


@click.command()
@click.argument("text")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="The model to ask.")
@_caller
def chat(text: str, model: str, token_file: str | None, base_url: str | None) -> None:
    """Say something to a model behind the token's route, and print what it answers.

    Example: OO_TOKEN=... oo chat "Hello!"
    """
    with _client(base_url) as client:
        answer = client.chat_completion(_token(token_file), [{"role": "user", "content": text}], model)
    try:
        said = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        fail("the answer is no chat completion")
    click.echo(said)


@click.command()
@click.option("--base-url", metavar="URL", help="The gateway; OO_BASE_URL or http://localhost:3001, unless told.")
def health(base_url: str | None) -> None:
    """Say whether the gateway is up.

    Example: oo health
    """
    with _client(base_url) as client:
        client.health()
    click.echo("up")


@click.command()
@as_json
def plugins(as_json: bool) -> None:
    """List the plugins that were found, and the chain that they make with the default one.

    Example: OO_PLUGINS=off oo plugins
    """
    with errors():
        from .._pipeline import name_of
        from .._plugins import plugins as found
        from .._plugins import with_plugins
        from ..hooks import ClientInfo
        from ..middleware import default_middleware

        rows = [{"plugin": each.name, "distribution": each.distribution} for each in found.found()]
        slots = found.middleware(ClientInfo("http://localhost:3001", True, 0))
        chain = [name_of(each) for each in with_plugins(default_middleware(), slots)]
        if as_json:
            click.echo(json.dumps({"plugins": rows, "chain": chain}, indent=2))
            return
        table(rows, ("plugin", "distribution"), False)
        click.echo(" -> ".join(chain))


@contextmanager
def _client(base_url: str | None) -> Iterator[Client]:
    with errors():
        from .. import Client

        try:
            client = Client(base_url)
        except ValueError as error:
            fail(str(error))
        with client:
            yield client


def _token(path: str | None) -> str:
    if path is not None:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    if found := os.environ.get("OO_TOKEN"):
        return found.strip()
    if sys.stdin.isatty():
        fail("there is no token: set OO_TOKEN, give --token-file, or pipe it in")
    # One line and not a byte more: what follows is for the command that `oo run` starts.
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(line) < 4096:
        line += byte
    if not line.strip():
        fail("there is no token: set OO_TOKEN, give --token-file, or pipe it in")
    return line.decode("utf-8", "replace").strip()


def _payload(data: str) -> Any:
    with errors():
        if data.startswith("@"):
            with click.open_file(data[1:], encoding="utf-8") as file:
                data = file.read()
        try:
            return json.loads(data)
        except ValueError:
            fail("the payload is not JSON")


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> int:
    try:
        child = subprocess.Popen(command, env=environment)  # noqa: S603  # the user's own command
    except OSError as error:
        click.echo(f"oo: {command[0]}: {error.strerror}", err=True)
        return 127 if isinstance(error, FileNotFoundError) else 126

    def forward(number: int, _frame: FrameType | None) -> None:
        # The terminal sends Ctrl-C to the child as well, and twice would mean something else.
        if number not in (signal.SIGINT, getattr(signal, "SIGQUIT", None)) or not _in_foreground():
            child.send_signal(number)

    for name in _FORWARDED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), forward)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


COMMANDS = (get, export, run, proxy, chat, health, plugins)
