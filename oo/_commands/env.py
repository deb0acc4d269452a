"""`oo env`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from ._output import as_json, table
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.models import Variable
    from ..gateway.vault import Vault


@click.group()
def env() -> None:
    """Keep environments, sets of variables that one token opens.

    Example: oo env set web API_KEY=@openai-key MODE=production
    """


@env.command("set")
@click.argument("name", metavar="ENV")
@click.argument("variables", nargs=-1, metavar="KEY=@SECRET KEY=literal ...")
@click.option(
    "--from-file", "source", type=click.File("r", "utf-8"), help="A .env file of literals; - for standard input."
)
def env_set(name: str, variables: tuple[str, ...], source: IO[str] | None) -> None:
    """Keep an environment, in the place of an earlier one.

    KEY=@SECRET takes the value that a secret has when somebody asks; KEY=@@x stands for the literal @x.

    Example: oo env set web API_KEY=@openai-key MODE=production
    """
    values: dict[str, Variable] = {} if source is None else dict(_dotenv(source))
    values.update(map(_variable, variables))
    if not values:
        raise click.UsageError("give it a variable: KEY=@SECRET, KEY=literal or --from-file .env")
    for key, value in values.items():
        _check(key, value)
    with_vault(lambda vault: vault.put_environment(name, values))
    click.echo(f"env {name}: {', '.join(values)}")


def _variable(text: str) -> tuple[str, Variable]:
    from ..gateway.models import SecretRef

    key, equals, value = text.partition("=")
    if not equals:
        # It may be a value, and is not said again.
        raise click.ClickException("an argument without '=' is no KEY=@SECRET and no KEY=literal")
    if value.startswith("@@"):
        return key, value[1:]
    return key, SecretRef(value[1:]) if value.startswith("@") else value


def _dotenv(file: IO[str]) -> Iterator[tuple[str, str]]:
    from dotenv.parser import parse_stream

    for binding in parse_stream(file):
        if binding.error:
            raise click.ClickException(f"{file.name}: line {binding.original.line} is no KEY=VALUE")
        if binding.key is not None:
            yield binding.key, binding.value or ""


def _check(key: str, value: Variable) -> None:
    from .._client.dotenv import NAME

    # Whoever keeps the vault may name what they like; what is no variable, every client would refuse.
    if not NAME.fullmatch(key):
        raise click.ClickException(f"{key!r} is no variable name: letters, digits and _")
    if isinstance(value, str):
        value.encode("utf-8")
        if "\0" in value:
            raise click.ClickException(f"the value of {key} holds a NUL character")


@env.command("list")
@as_json
def env_list(as_json: bool) -> None:
    """List the environments.

    Example: oo env list
    """

    async def read(vault: Vault) -> list[dict[str, Any]]:
        return [
            {"name": name, "variables": list(await vault.variables(name) or ())} for name in await vault.names("env")
        ]

    table(with_vault(read), ("name", "variables"), as_json)


@env.command("show")
@click.argument("name", metavar="ENV")
@as_json
def env_show(name: str, as_json: bool) -> None:
    """Show an environment's variables, the values masked.

    Example: oo env show web
    """
    found = with_vault(lambda vault: vault.variables(name))
    if found is None:
        raise click.ClickException(f"there is no env {name!r}")
    rows = [
        {"name": key, "value": "***" if isinstance(value, str) else f"@{value.name}"} for key, value in found.items()
    ]
    table(rows, ("name", "value"), as_json)


add_rm(env, "env")
