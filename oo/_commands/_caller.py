"""What the commands that call a gateway share: where the token comes from, and the client."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from .. import Client

F = TypeVar("F", bound=Callable[..., Any])

base_url_option: Callable[[F], F] = click.option(
    "--base-url", metavar="URL", help="The gateway; OO_BASE_URL or http://127.0.0.1:3001, unless told."
)
"""Where the gateway is."""


def caller(command: F) -> F:
    """The options of a command that calls with a token."""
    file = click.Path(exists=True, dir_okay=False)
    return base_url_option(
        click.option("--token-file", type=file, help="A file that holds the token; else OO_TOKEN or standard input.")(
            command
        )
    )


def client_at(base_url: str | None) -> Client:
    """A client of the gateway there."""
    from .. import Client

    try:
        return Client(base_url)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def token_from(path: str | None) -> str:
    """The token: of a file, else of OO_TOKEN, else the first line of standard input."""
    if path is not None:
        with open(path, encoding="utf-8", errors="replace") as file:
            token = file.read()
    elif not (token := os.environ.get("OO_TOKEN", "")):
        token = _line()
    if not token.strip():
        raise click.ClickException("there is no token: set OO_TOKEN, give --token-file, or pipe it in")
    return token.strip()


def _line() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    # One line and not a byte more: what follows is for the command that `oo run` starts.
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(line) < 4096:
        line += byte
    return line.decode("utf-8", "replace")
