"""`oo route`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, table
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.vault import Vault


@click.group()
def route() -> None:
    """Keep routes, upstream APIs and what callers may do there.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """


@route.command("set")
@click.argument("name")
@click.option("--upstream", required=True, metavar="URL", help="The API's base URL; what callers ask for comes behind.")
@click.option("--inject", multiple=True, metavar="'HEADER: TEXT'", help="A header to send; {name} is a secret's value.")
@click.option(
    "--allow", multiple=True, metavar="'METHOD PATH'", help="What callers may do; * is anything. All, if none."
)
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long one call may take.")
@click.option("--allow-private", is_flag=True, help="Let the upstream be at a private or loopback address.")
def route_set(
    name: str, upstream: str, inject: tuple[str, ...], allow: tuple[str, ...], timeout: float, allow_private: bool
) -> None:
    """Keep a route, in the place of an earlier one.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """
    from ..gateway.models import Route

    made = Route(name, upstream, _headers(inject), allow, timeout, allow_private)
    with_vault(lambda vault: vault.put_route(made))
    click.echo(f"route {name}")


def _headers(inject: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in inject:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon:
            # It may be a key, and is not said again.
            raise click.ClickException("an --inject without ':' is no 'Header: text'")
        if name.lower() in map(str.lower, headers):
            raise click.ClickException(f"{name} is injected twice")
        headers[name] = value
    return headers


@route.command("list")
@as_json
def route_list(as_json: bool) -> None:
    """List the routes, injected headers by name only.

    Example: oo route list
    """

    async def read(vault: Vault) -> list[dict[str, Any]]:
        found = [await vault.route(name) for name in await vault.names("route")]
        return [
            {
                "name": each.name,
                "upstream": each.upstream,
                "inject": list(each.inject),
                "secrets": sorted(each.secrets),
                "allow": list(each.allow) or ["* /*"],
                "timeout": each.timeout,
                "private": each.allow_private,
            }
            for each in found
            if each is not None
        ]

    table(with_vault(read), ("name", "upstream", "inject", "secrets", "allow", "timeout", "private"), as_json)


add_rm(route, "route")
