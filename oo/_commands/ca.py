"""`oo ca`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, emit, moment, table
from ._vault import with_vault

if TYPE_CHECKING:
    from ..gateway.store.base import Keeper


@click.group()
def ca() -> None:
    """Keep the authority that proxied programs trust.

    Example: oo ca show
    """


@ca.command("show")
@click.option("--route", "routes", multiple=True, metavar="NAME", help="Print its certificates for this route's hosts.")
@as_json
def ca_show(routes: tuple[str, ...], as_json: bool) -> None:
    """Show the keys of the authority, or, with --route, its certificates in PEM. A key is made where there is none.

    A token's holder has its own by GET /ca.pem.

    Example: oo ca show
    """
    from ..gateway import authority
    from ..gateway.authority_keeping import authority_certificates

    if routes:
        emit(with_vault(lambda vault: authority_certificates(vault, routes)), newline=False)
        return

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        keys, now = await vault.authority(), time.time()
        signing = authority.current(keys, now)
        return [
            {
                "name": authority.name_of(key),
                "state": "current" if key is signing else "next",
                "signs from": moment(key.since),
            }
            for key in authority.trusted(keys, now)
        ]

    table(with_vault(read), ("name", "state", "signs from"), as_json)


@ca.command("rotate")
@click.option("--now", "at_once", is_flag=True, help="Replace the key at once: who trusts it must fetch /ca.pem again.")
def ca_rotate(at_once: bool) -> None:
    """Make a next key, which signs from 30 days on. Until then /ca.pem gives both, so fetch that anew meanwhile.

    Example: oo ca rotate
    """
    from ..gateway.authority_keeping import rotate_authority

    key = with_vault(lambda vault: rotate_authority(vault, at_once=at_once))
    when = moment(key.since)
    said = "signs at once" if at_once or when is None else f"signs from {when:%Y-%m-%d %H:%M} on"
    click.echo(f"ca: a new key {said}: fetch /ca.pem again where it is kept")
