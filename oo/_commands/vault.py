"""The commands for the vault as a whole: init, rekey, audit."""

from __future__ import annotations

import os

import click

from ._vault import with_vault


@click.command()
def init() -> None:
    """Make a vault.

    It lies in OO_HOME, else where this platform keeps a program's data, its master key beside it unless OO_MASTER_KEY
    or OO_MASTER_KEY_FILE gives one.

    Example: oo init
    """
    from ..gateway import keyring, sealing
    from ..gateway.paths import data_dir
    from ..gateway.vault import VAULT_FILE, Vault

    place = data_dir()
    path = keyring.key_path(place)
    made = not os.environ.get("OO_MASTER_KEY") and not path.exists()
    if made and (place / VAULT_FILE).exists():
        raise click.ClickException(f"there is a vault in {place} already, and its master key {path} is missing")
    if made:
        keyring.write_keys(path, [sealing.new_key()])
    Vault.create(place, keyring.load(place))
    click.echo(f"vault {place / VAULT_FILE}")
    if made:
        click.echo(f"master key {path}: keep a copy elsewhere, without it the vault is lost")


@click.command()
def rekey() -> None:
    """Seal the vault with a new master key.

    Servers go on meanwhile. A killed run is taken up by the next. Where OO_MASTER_KEY gives the key, set it to
    "OLD,NEW" first, for the servers too, and to NEW when this is done.

    Example: oo rekey
    """
    from ..gateway import keyring, sealing
    from ..gateway.paths import data_dir

    place = data_dir()
    path = keyring.key_path(place)
    keys = keyring.read_keys(place)
    in_file = not os.environ.get("OO_MASTER_KEY")
    if len(keys) < 2:
        if not in_file:
            raise click.ClickException('OO_MASTER_KEY holds one key: set it to "OLD,NEW" first')
        # Opened once before anything is written: a key that is not the vault's must not get company.
        with_vault(lambda vault: vault.names("secret"))
        keys.append(sealing.new_key())
        keyring.write_keys(path, keys)
    count = with_vault(lambda vault: vault.rekey(sealing.Keyring(keys)))
    if in_file:
        keyring.write_keys(path, keys[-1:])
    click.echo(f"records sealed with the new key: {count}")
    if in_file:
        click.echo(f"master key {path}: keep a copy elsewhere, the old one opens nothing any more")


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come, until interrupted.")
def audit(follow: bool) -> None:
    """Print the audit, a JSON line for each decision.

    Example: oo audit --follow
    """
    from ..gateway.audit_log import read
    from ..gateway.paths import data_dir
    from ..gateway.vault import VAULT_FILE

    path = data_dir() / VAULT_FILE
    if not path.exists():
        raise click.ClickException(f"there is no vault at {path}: run `oo init`")
    for line in read(data_dir(), follow):
        click.echo(line)
