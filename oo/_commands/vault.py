"""The commands for the vault as a whole: init, rekey."""

from __future__ import annotations

import click

from ._vault import store_place, warn, with_vault

_OLD = "The old master key opens backups that were made before, and nothing else: make a new one (`oo store backup`)"


@click.command()
def init() -> None:
    """Make a vault.

    It is made in OO_HOME, else where this platform keeps a program's data. Its master key is put beside it, unless
    OO_MASTER_KEY or OO_MASTER_KEY_FILE gives one, or OO_KMS names a service that keeps it. In PostgreSQL it is a schema
    `oo` of the database that --store or OO_STORE names.

    Example: oo init
    """
    from ..gateway.services import create_store

    vault, key = create_store(store_place())
    click.echo(f"vault {vault}")
    if key is not None:
        click.echo(f"master key {key}: keep a copy elsewhere, without it the vault is lost")


@click.command()
@click.option("--deep", is_flag=True, help="Draw new data keys too, and seal every record anew.")
def rekey(deep: bool) -> None:
    """Give the vault a new master key.

    It wraps the data keys, which seal the records: however many those are, it is done at once. Where somebody may have
    the old master key and a copy of the vault, give --deep. Servers keep running meanwhile. If it is interrupted, run
    it again: it continues. If OO_MASTER_KEY gives the key, set it to "OLD,NEW" first, for the servers too, and to NEW
    when this is done. A KMS (OO_KMS) wraps with its newest version.

    Example: oo rekey
    """
    import asyncio

    from ..gateway.keyring import is_own
    from ..gateway.services import rekey_store

    count, key = asyncio.run(rekey_store(store_place(), deep=deep))
    if not count and key is None:
        click.echo('nothing was wrapped anew: the vault has the last key of OO_MASTER_KEY ("OLD,NEW") already')
        return
    click.echo(f"records sealed anew: {count}" if deep else f"data keys wrapped with the new key: {count}")
    if key is not None:
        click.echo(f"master key {key}: keep a copy elsewhere. {_OLD}")
    elif not is_own():
        click.echo(f"the KMS of OO_KMS wraps them. {_OLD}")
    if not deep:
        warn(with_vault(lambda vault: vault.warnings()))
