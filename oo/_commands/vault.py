"""The commands for the vault as a whole: init, rekey."""

from __future__ import annotations

import click

from ._vault import store_place


@click.command()
def init() -> None:
    """Make a vault.

    It is made in OO_HOME, else where this platform keeps a program's data. Its master key is put beside it, unless
    OO_MASTER_KEY or OO_MASTER_KEY_FILE gives one. In PostgreSQL it is a schema `oo` of the database that --store or
    OO_STORE names.

    Example: oo init
    """
    from ..gateway.services import create_store

    vault, key = create_store(store_place())
    click.echo(f"vault {vault}")
    if key is not None:
        click.echo(f"master key {key}: keep a copy elsewhere, without it the vault is lost")


@click.command()
def rekey() -> None:
    """Seal the vault with a new master key.

    Servers keep running meanwhile. If it is interrupted, run it again: it continues. If OO_MASTER_KEY gives the key,
    set it to "OLD,NEW" first, for the servers too, and to NEW when this is done.

    Example: oo rekey
    """
    import asyncio

    from ..gateway.services import rekey_store

    count, key = asyncio.run(rekey_store(store_place()))
    if not count and key is None:
        click.echo(
            'nothing was sealed anew: the vault is sealed with the last key of OO_MASTER_KEY ("OLD,NEW") already'
        )
        return
    click.echo(f"records sealed with the new key: {count}")
    if key is not None:
        click.echo(f"master key {key}: keep a copy elsewhere, the old one opens nothing any more")
