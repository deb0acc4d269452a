"""`oo secret`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, emit, moment, on_terminal, printable, show, table
from ._values import WholeNumber, text_file
from ._vault import add_rm, warn, with_vault

if TYPE_CHECKING:
    from ..gateway.store.base import Keeper


@click.group()
def secret() -> None:
    """Keep secrets, each in versions.

    Example: oo secret set openai-key
    """


@secret.command("set")
@click.argument("name")
@click.option(
    "--from-file", "value", type=text_file, metavar="FILE", help="Read the value from a file; - for standard input."
)
def secret_set(name: str, value: str | None) -> None:
    """Keep a new version of a secret.

    Asks for the value without showing it, or reads it from a file. One newline at its end is dropped.

    Example: oo secret set openai-key
    """
    from ..gateway.services import put_secret

    value = _asked(name) if value is None else re.sub(r"\r?\n\Z", "", value)
    if not value:
        raise click.ClickException("the value is empty")
    version, warnings = with_vault(lambda vault: put_secret(vault, name, value))
    click.echo(f"secret {name} version {version}")
    warn(warnings)


def _asked(name: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.ClickException("there is no terminal to ask on: give --from-file - to read the value from a pipe")
    from ..gateway.models import check_name

    # Check the name before the user types the value twice.
    check_name(name)
    with_vault(lambda vault: vault.names("secret"))
    while True:
        value: str = click.prompt(f"value of {name}", hide_input=True, err=True)
        if value == click.prompt("Repeat for confirmation", hide_input=True, err=True):
            return value
        warn(["what was typed the second time differs; once more"])


@secret.command("list")
@as_json
def secret_list(as_json: bool) -> None:
    """List the secrets, without their values.

    Example: oo secret list --json
    """

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        rows = []
        for name in await vault.names("secret"):
            current = next(version for version in await vault.versions(name) if version.current)
            rows.append({"name": name, "version": current.version, "set": moment(current.created)})
        return rows

    table(with_vault(read), ("name", "version", "set"), as_json)


@secret.command("show")
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Print the value, and nothing else.")
@as_json
def secret_show(name: str, reveal: bool, as_json: bool) -> None:
    """Show a secret's version, and what uses it.

    The value is printed only with --reveal; in a pipe no newline comes after it.

    Example: oo secret show openai-key
    """
    from ..gateway.services import require, users_of

    async def value(vault: Keeper) -> str:
        await require(vault, "secret", name)
        return await vault.secret(name) or ""

    async def read(vault: Keeper) -> dict[str, Any]:
        await require(vault, "secret", name)
        versions = await vault.versions(name)
        current = next(version for version in versions if version.current)
        opened_by = [token.id for token in await vault.tokens() if (token.kind, token.name) == ("secret", name)]
        return {
            "name": name,
            "version": current.version,
            "versions": len(versions),
            "set": moment(current.created),
            "needed_by": await users_of(vault, name),
            "tokens": opened_by,
        }

    if reveal:
        value_text = with_vault(value)
        emit(printable(value_text, kept="\n\t") if on_terminal() else value_text, newline=on_terminal())
        return
    show(with_vault(read), as_json)


@secret.command("versions")
@click.argument("name")
@as_json
def secret_versions(name: str, as_json: bool) -> None:
    """List the versions of a secret.

    Example: oo secret versions openai-key
    """
    from ..gateway.models import check_name
    from ..gateway.services import require

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        await require(vault, "secret", check_name(name))
        return [
            {"version": version.version, "set": moment(version.created), "current": version.current}
            for version in await vault.versions(name)
        ]

    table(with_vault(read), ("version", "set", "current"), as_json)


@secret.command("rollback")
@click.argument("name")
@click.option(
    "--to",
    "version",
    type=WholeNumber(1, 2**31 - 1),
    metavar="VERSION",
    help="The version to return to; the one before the current, unless told.",
)
def secret_rollback(name: str, version: int | None) -> None:
    """Return to an earlier version of a secret.

    Example: oo secret rollback openai-key
    """
    from ..gateway.services import rollback

    current, warnings = with_vault(lambda vault: rollback(vault, name, version))
    click.echo(f"secret {name} version {current}")
    warn(warnings)


add_rm(secret, "secret")
