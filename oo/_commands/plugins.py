"""`oo plugins`, and the options that name a gateway's plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, printable, table, wrapped

if TYPE_CHECKING:
    from .._core.pipeline import Middleware
    from .._plugins import Plugin
    from ..gateway.credentials.registry import Registry


def _split(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[str]:
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


named_plugins = click.option(
    "--plugins",
    multiple=True,
    metavar="A,B",
    callback=_split,
    allow_from_autoenv=False,  # OO_PLUGINS is of clients
    help="The plugins that the gateway loads; no other is.",
)
"""The option that names the plugins of a gateway."""

plugin_kinds = click.option(
    "--plugins", multiple=True, metavar="A,B", callback=_split, help="The plugins whose kinds --credential may name."
)
"""The option that names the plugins of a route's credentials."""


@click.command()
@click.option("--gateway", is_flag=True, help="Of a gateway, not of a client.")
@named_plugins
@as_json
def plugins(gateway: bool, plugins: list[str], as_json: bool) -> None:
    """List the plugins found, and the chain with them.

    Example: oo plugins --gateway --plugins timer
    """
    if plugins and not gateway:
        raise click.UsageError("--plugins goes with --gateway; for a client, set OO_PLUGINS")
    from .._core.pipeline import name_of

    listed, middleware = _of_gateway(plugins) if gateway else _of_client()
    chain = [name_of(layer) for layer in middleware]
    rows = [{"plugin": plugin.name, "distribution": plugin.distribution} for plugin in listed]
    kinds = {"credentials": kinds_of(plugins).kinds} if gateway else {}
    if as_json:
        click.echo(json.dumps({"plugins": rows, "chain": chain, **kinds}, indent=2))
        return
    table(rows, ("plugin", "distribution"), False)
    click.echo(wrapped(printable(" -> ".join(chain))))
    for name, added in kinds.items():
        click.echo(wrapped(printable(f"{name}: {', '.join(added)}")))


def kinds_of(plugins: list[str]) -> Registry:
    """The kinds of credentials, those of the named plugins included."""
    from ..gateway.app import kinds_with

    try:
        return kinds_with(plugins)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _of_client() -> tuple[list[Plugin], list[Middleware]]:
    from .._core.slots import ClientInfo, compose
    from .._http.urls import DEFAULT_BASE_URL
    from .._plugins import plugins
    from ..middleware.default import default_chain

    # Compose the chain first: it leaves out a plugin whose hook fails, with a warning.
    chain = compose(default_chain(), plugins.middleware(ClientInfo(DEFAULT_BASE_URL, True, 0)))
    return plugins.found(), chain


def _of_gateway(names: list[str]) -> tuple[list[Plugin], list[Middleware]]:
    from .._core.slots import compose
    from .._http.urls import DEFAULT_BASE_URL
    from .._plugins import plugins
    from ..gateway.app import gateway_info
    from ..gateway.background import Background
    from ..gateway.credentials.registry import Registry
    from ..gateway.open_calls import OpenCalls
    from ..gateway.stack import gateway_chain

    try:
        listed, offers = plugins.named(names, gateway_info(DEFAULT_BASE_URL))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    nothing: Any = None  # no call goes through this chain
    chain = gateway_chain(nothing, None, Background(), OpenCalls(nothing), nothing, Registry())
    return listed, compose(chain, offers)
