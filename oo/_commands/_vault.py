"""What the commands that read or change the vault share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import printable

if TYPE_CHECKING:
    from ..gateway.models import Kind
    from ..gateway.vault import Vault

T = TypeVar("T")


def with_vault(work: Callable[[Vault], Coroutine[Any, Any, T]]) -> T:
    """Open the vault, do some work on it, and return its result."""
    import asyncio

    from ..gateway.paths import data_dir
    from ..gateway.vault import Vault

    async def run() -> T:
        async with Vault(data_dir()) as vault:
            return await work(vault)

    return asyncio.run(run())


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

        async def forget(vault: Vault) -> None:
            await require(vault, kind, name)
            await vault.remove(kind, name)

        with_vault(forget)
        click.echo(f"{kind} {name} is gone")
