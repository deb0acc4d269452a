"""The options of the commands that call a gateway, the client they call it with, and the token."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._values import FilePath

if TYPE_CHECKING:
    from .. import Client

F = TypeVar("F", bound=Callable[..., Any])

base_url_option: Callable[[F], F] = click.option(
    "--base-url", metavar="URL", help="The gateway; OO_BASE_URL or http://127.0.0.1:3001, unless told."
)
"""The option that says where the gateway is."""

only_option: Callable[[F], F] = click.option(
    "--only", multiple=True, metavar="'DB_*'", help="Take the variables of this name or pattern, and no other."
)
"""The option that says which variables are taken."""

allow_option: Callable[[F], F] = click.option(
    "--allow", multiple=True, metavar="NAME", help="Take this variable though it steers how programs load."
)
"""The option for variables that are refused unless they are named here."""


def caller(command: F) -> F:
    """Give a command the options it needs to call with a token."""
    file = FilePath(exists=True, dir_okay=False)
    return base_url_option(
        click.option("--token-file", type=file, help="A file that holds the token; else OO_TOKEN or standard input.")(
            command
        )
    )


def client_at(base_url: str | None, timeout: float = 30.0) -> Client:
    """A client of the gateway at `base_url`."""
    from .. import Client

    try:
        return Client(base_url, timeout)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def token_from(path: str | None) -> str:
    """The token: read from a file if one is given, else from OO_TOKEN, else from the first line of standard input."""
    if path is not None:
        from .._core.files import decode_text

        with open(path, "rb") as file:
            token = decode_text(file.read())
    elif not (token := os.environ.get("OO_TOKEN", "")):
        token = _line()
    token = token.lstrip("\ufeff").strip()
    if not token:
        raise click.ClickException("there is no token: set OO_TOKEN, give --token-file, or pipe it in")
    return token


def _line() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    # Read one line and not a byte more: what follows is for the command that `oo run` starts.
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n") and len(line) < 4096:
        line += byte
    return line.decode("utf-8", "replace")
