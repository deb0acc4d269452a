"""`oo plugins`."""

from __future__ import annotations

import json

import click

from ._output import as_json, printable, table


@click.command()
@as_json
def plugins(as_json: bool) -> None:
    """List the plugins found, and the chain they make.

    Example: OO_PLUGINS=off oo plugins
    """
    from .._core.pipeline import name_of
    from .._core.slots import compose
    from .._plugins import plugins as found
    from ..hooks import ClientInfo
    from ..middleware import default_chain

    # The chain first: a plugin that breaks in its hook is left out with a warning.
    slots = found.middleware(ClientInfo("http://localhost:3001", True, 0))
    chain = [name_of(each) for each in compose(default_chain(), slots)]
    rows = [{"plugin": each.name, "distribution": each.distribution} for each in found.found()]
    if as_json:
        click.echo(json.dumps({"plugins": rows, "chain": chain}, indent=2))
        return
    table(rows, ("plugin", "distribution"), False)
    click.echo(printable(" -> ".join(chain)))
