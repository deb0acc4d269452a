"""The store, for the commands that keep it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import printable

if TYPE_CHECKING:
    from ..gateway.models import Kind
    from ..gateway.store.base import Keeper

T = TypeVar("T")
_STORE = "oo.store"


def with_vault(work: Callable[[Keeper], Coroutine[Any, Any, T]]) -> T:
    """Open the store, do some work on it, and return its result."""
    import asyncio

    from ..gateway.open_store import open_store

    async def run() -> T:
        async with open_store(store_place()) as vault:
            return await work(vault)

    return asyncio.run(run())


def store_place() -> str:
    """Where the store is: what --store says, else OO_STORE, else the data directory."""
    from ..gateway.open_store import place_of

    context = click.get_current_context(silent=True)
    return place_of(None if context is None else context.meta.get(_STORE))


def use_store() -> None:
    """Have this process and those that it starts use the store that --store names. It holds no password."""
    import os

    given = click.get_current_context().meta.get(_STORE)
    if given is not None:
        os.environ["OO_STORE"] = given


def add_store_option(command: click.Command) -> None:
    """Give a command, or each command of a group, the option --store."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            add_store_option(each)
        return
    text = "The store: a directory or postgres://..., instead of OO_STORE."
    command.params.append(
        click.Option(
            ["--store"],
            metavar="PLACE",
            callback=_note,
            expose_value=False,
            is_eager=True,
            allow_from_autoenv=False,  # OO_STORE may hold a password
            help=text,
        )
    )


def check_place(place: str) -> None:
    """Refuse a place with a password in it: an argument is seen by everybody on the machine."""
    from ..gateway.store.postgres.place import has_password

    if has_password(place):
        raise click.UsageError(
            "a password is never an argument: set PGPASSWORD or OO_STORE, or use a passfile (PGPASSFILE)"
        )


def _note(context: click.Context, _option: click.Parameter, place: str | None) -> None:
    if place is not None:
        check_place(place)
        context.meta[_STORE] = place


def warn(warnings: Iterable[str]) -> None:
    """Print a warning on standard error."""
    for warning in warnings:
        click.echo(f"oo: {printable(warning)}", err=True)


def add_rm(group: click.Group, kind: Kind) -> None:
    """Add the command `rm` to the group of a kind of things."""

    @group.command("rm", help=f"Forget the {kind} NAME, and revoke its tokens.\n\nExample: oo {kind} rm old")
    @click.argument("name")
    def remove(name: str) -> None:
        from ..gateway.services import require

        async def forget(vault: Keeper) -> None:
            await require(vault, kind, name)
            await vault.remove(kind, name)

        with_vault(forget)
        click.echo(f"{kind} {name} is gone")
