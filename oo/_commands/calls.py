"""The commands that fetch from a gateway: get, export, health."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from ._caller import allow_option, base_url_option, caller, client_at, only_option, token_from
from ._output import emit, on_terminal, printable

if TYPE_CHECKING:
    from .._client.env_formats import Format

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@click.command()
@caller
def get(token_file: str | None, base_url: str | None) -> None:
    """Print the secret that the token opens.

    In a pipe no newline comes after it. The token comes from --token-file, OO_TOKEN or standard input, never from an
    argument.

    Example: OO_TOKEN=... oo get
    """
    token = token_from(token_file)
    with client_at(base_url) as client:
        value = client.get_secret(token)
    emit(printable(value, kept="\n\t") if on_terminal() else value, newline=on_terminal())


@click.command()
@click.argument("path", default=".env")
@click.option("--append", is_flag=True, help="Add to the file instead of replacing it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("dotenv", "sh", "node", "json", "docker", "systemd")),
    default="dotenv",
    show_default=True,
    help="Who reads the file; dotenv is read by sh, bash and python-dotenv alike.",
)
@only_option
@allow_option
@caller
def export(
    path: str,
    append: bool,
    form: Format,
    only: tuple[str, ...],
    allow: tuple[str, ...],
    token_file: str | None,
    base_url: str | None,
) -> None:
    """Write the environment that the token opens to a file.

    The file, .env unless told, can be read by nobody but you; - is standard output. A value that its format cannot
    hold exactly is refused.

    Example: OO_TOKEN=... oo export .env
    """
    token = token_from(token_file)
    with client_at(base_url) as client:
        if path in _STDOUT:
            _print_env(client.get_env(token), only, allow, form)
            return
        env = client.export_env(
            token, os.path.expanduser(path), not append, allow=allow, only=only or None, format=form
        )
    click.echo(f"{path}: {', '.join(env)}", err=True)


@click.command()
@base_url_option
def health(base_url: str | None) -> None:
    """Say whether the gateway is up.

    Example: oo health
    """
    with client_at(base_url) as client:
        client.health()
    click.echo("up")


def _print_env(variables: dict[str, str], only: tuple[str, ...], allow: tuple[str, ...], form: Any) -> None:
    from .._client.dotenv import render, select

    data = render(select(variables, only or None), allow, form)
    emit(printable(data.decode(), kept="\n\t") if on_terminal() else data, newline=False)
