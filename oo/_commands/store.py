"""The commands for where the store is: migrate, and `oo store`."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from ._output import as_json, table
from ._vault import check_place, store_place, with_vault

T = TypeVar("T")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--to", "target", required=True, metavar="PLACE", help="An empty place: a directory or postgres://...")
def migrate(target: str) -> None:
    """Move the store to another place.

    Gateways say 503 while it moves, and from then on; start them with the new place. The same master key opens it
    there. A killed run is taken up by the next.

    Example: oo migrate --to postgres://oo@db.example/oo
    """
    from ..gateway.moving import migrate as moved

    check_place(target)
    count = _run(moved(store_place(), target))
    click.echo(f"rows moved: {count}" if count else "it had moved already")


@click.group()
def store() -> None:
    """Look at the store, copy it into a file, or fill it from one.

    Example: oo store status
    """


@store.command("status")
@as_json
def status(as_json: bool) -> None:
    """Say what is in the store, and what of its promises it cannot keep.

    Example: oo store status
    """
    from ..gateway.models import Kind
    from ..gateway.store.base import Keeper

    kinds: tuple[Kind, ...] = ("secret", "env", "route", "bundle")

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        counts = {f"{kind}s": len(await vault.names(kind)) for kind in kinds}
        rows = [{"what": what, "is": str(count)} for what, count in counts.items()]
        rows.append({"what": "tokens", "is": str(len(await vault.tokens()))})
        keys = await vault.keys()
        rows.append(
            {"what": "data keys", "is": f"{len(keys)}, wrapped by {', '.join(sorted({k.sealed[0] for k in keys}))}"}
        )
        return rows + [{"what": "warning", "is": warning} for warning in await vault.warnings()]

    table(with_vault(read), ("what", "is"), as_json)


@store.command("backup")
@click.argument("file", type=_FILE)
def backup(file: Path) -> None:
    """Copy the store into FILE, as of one moment, while gateways run.

    It is sealed: keep the master key as well, elsewhere.

    Example: oo store backup oo-2026-11-26.db
    """
    from ..gateway.moving import backup as copied

    click.echo(f"rows copied: {_run(copied(store_place(), file))}")


@store.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(file: Path) -> None:
    """Fill an empty place from FILE.

    Example: oo store restore oo-2026-11-26.db --store postgres://oo@db.example/oo
    """
    from ..gateway.moving import restore as filled

    click.echo(f"rows restored: {_run(filled(store_place(), file))}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)
