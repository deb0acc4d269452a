"""`oo env`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, say_changes, table
from ._values import text_file
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.models import Variable
    from ..gateway.store.base import Keeper

F = TypeVar("F", bound=Callable[..., Any])

_variables: Callable[[F], F] = click.argument("variables", nargs=-1, metavar="KEY=@SECRET KEY=literal ...")
_from_file: Callable[[F], F] = click.option(
    "--from-file",
    "source",
    type=text_file,
    metavar="FILE",
    help="A .env file of literals; - for standard input.",
)


@click.group()
def env() -> None:
    """Keep environments: sets of variables that one token opens.

    Example: oo env set web API_KEY=@openai-key MODE=production
    """


@env.command("set")
@click.argument("name", metavar="ENV")
@_variables
@_from_file
@click.option("--replace", is_flag=True, help="Put it in the place of the one that is there.")
def env_set(name: str, variables: tuple[str, ...], source: str | None, replace: bool) -> None:
    """Keep an environment. One that exists is replaced only with --replace.

    KEY=@SECRET is the value that the secret has when the environment is fetched. KEY=@@x is the literal @x.

    Example: oo env set web API_KEY=@openai-key MODE=production
    """
    from ..gateway.services import put_environment

    values = _given(variables, source)
    with_vault(lambda vault: put_environment(vault, name, values, override=replace))
    click.echo(f"env {name}: {', '.join(values)}")


@env.command("update")
@click.argument("name", metavar="ENV")
@_variables
@_from_file
@click.option("--drop", multiple=True, metavar="KEY", help="Forget this variable.")
def env_update(name: str, variables: tuple[str, ...], source: str | None, drop: tuple[str, ...]) -> None:
    """Change the named variables and no others, and say which changed.

    Example: oo env update web MODE=staging --drop DEBUG
    """
    from ..gateway.services import update_environment

    values = _given(variables, source, needed=not drop)
    say_changes(f"env {name}", with_vault(lambda vault: update_environment(vault, name, values, drop)))


def _given(variables: tuple[str, ...], source: str | None, needed: bool = True) -> dict[str, Variable]:
    values: dict[str, Variable] = {} if source is None else dict(_dotenv(source))
    values.update(map(_variable, variables))
    if needed and not values:
        raise click.UsageError("give it a variable: KEY=@SECRET, KEY=literal or --from-file .env")
    return values


def _variable(text: str) -> tuple[str, Variable]:
    from ..gateway.models import SecretRef

    key, equals, value = text.partition("=")
    if not equals:
        # It may be a value, and so is not repeated.
        raise click.ClickException("an argument without '=' is no KEY=@SECRET and no KEY=literal")
    if value.startswith("@@"):
        return key, value[1:]
    return key, SecretRef(value[1:]) if value.startswith("@") else value


def _dotenv(text: str) -> Iterator[tuple[str, str]]:
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise click.ClickException(f"the file of --from-file: line {binding.original.line} is no KEY=VALUE")
        if binding.key is not None:
            yield binding.key, binding.value or ""


@env.command("list")
@as_json
def env_list(as_json: bool) -> None:
    """List the environments.

    Example: oo env list
    """

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        return [
            {"name": name, "variables": list(await vault.variables(name) or ())} for name in await vault.names("env")
        ]

    table(with_vault(read), ("name", "variables"), as_json)


@env.command("show")
@click.argument("name", metavar="ENV")
@as_json
def env_show(name: str, as_json: bool) -> None:
    """Show an environment's variables, with their values masked.

    Example: oo env show web
    """
    from ..gateway.services import require

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        await require(vault, "env", name)
        return [
            {"name": key, "value": "***" if isinstance(value, str) else f"@{value.name}"}
            for key, value in (await vault.variables(name) or {}).items()
        ]

    table(with_vault(read), ("name", "value"), as_json)


add_rm(env, "env")
