"""`oo bundle`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, table
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.store.base import Keeper


@click.group()
def bundle() -> None:
    """Keep bundles: sets of routes that one token opens.

    By the forward proxy alone: see `oo run --proxied`.

    Example: oo bundle set agent --route openai --route github
    """


@bundle.command("set")
@click.argument("name", metavar="BUNDLE")
@click.option("--route", "routes", multiple=True, required=True, metavar="NAME", help="A route that it opens.")
def bundle_set(name: str, routes: tuple[str, ...]) -> None:
    """Keep a bundle, in place of one of that name. Its tokens open the routes that it has from then on.

    Where two of its routes have the same host and port, the first is called.

    Example: oo bundle set agent --route openai --route github
    """
    from ..gateway.services import put_bundle

    with_vault(lambda vault: put_bundle(vault, name, routes))
    click.echo(f"bundle {name}: {', '.join(dict.fromkeys(routes))}")


@bundle.command("list")
@as_json
def bundle_list(as_json: bool) -> None:
    """List the bundles.

    Example: oo bundle list
    """

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        return [{"name": name, "routes": list(await vault.bundle(name) or ())} for name in await vault.names("bundle")]

    table(with_vault(read), ("name", "routes"), as_json)


add_rm(bundle, "bundle")
