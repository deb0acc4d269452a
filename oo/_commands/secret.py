"""`oo secret`."""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING, Any

import click

from ._output import as_json, moment, table
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.vault import Vault


@click.group()
def secret() -> None:
    """Keep secrets, each in versions.

    Example: oo secret set openai-key
    """


@secret.command("set")
@click.argument("name")
@click.option("--from-file", "source", type=click.File("rb"), help="Read the value from a file; - for standard input.")
def secret_set(name: str, source: IO[bytes] | None) -> None:
    """Keep a new version of a secret.

    Asks for the value without showing it, or reads it from a file; one line's end after it is dropped.

    Example: oo secret set openai-key
    """
    value = _asked(name) if source is None else re.sub(r"\r?\n\Z", "", source.read().decode("utf-8"))
    if not value:
        raise click.ClickException("the value is empty")
    version = with_vault(lambda vault: vault.put_secret(name, value))
    click.echo(f"secret {name} version {version}")


def _asked(name: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.ClickException("there is no terminal to ask on: give --from-file - to read the value from a pipe")
    from ..gateway.models import check_name

    # What would be refused is refused before somebody has typed a key twice.
    check_name(name)
    with_vault(lambda vault: vault.names("secret"))
    value: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    return value


@secret.command("list")
@as_json
def secret_list(as_json: bool) -> None:
    """List the secrets, without their values.

    Example: oo secret list --json
    """

    async def read(vault: Vault) -> list[dict[str, Any]]:
        rows = []
        for name in await vault.names("secret"):
            current = next(each for each in await vault.versions(name) if each.current)
            rows.append({"name": name, "version": current.version, "set": moment(current.created)})
        return rows

    table(with_vault(read), ("name", "version", "set"), as_json)


@secret.command("versions")
@click.argument("name")
@as_json
def secret_versions(name: str, as_json: bool) -> None:
    """List the versions of a secret.

    Example: oo secret versions openai-key
    """
    found = with_vault(lambda vault: vault.versions(name))
    rows = [{"version": each.version, "set": moment(each.created), "current": each.current} for each in found]
    table(rows, ("version", "set", "current"), as_json)


@secret.command("rollback")
@click.argument("name")
@click.option("--to", "version", type=int, help="The version to return to; the one before the current, unless told.")
def secret_rollback(name: str, version: int | None) -> None:
    """Return to an earlier version of a secret.

    Example: oo secret rollback openai-key
    """
    now = with_vault(lambda vault: vault.rollback(name, version))
    click.echo(f"secret {name} version {now}")


add_rm(secret, "secret")
