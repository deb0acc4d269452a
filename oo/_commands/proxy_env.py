"""`oo proxy-env`: prints what `oo run --proxied` sets, for a shell, a Dockerfile or a CI job."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ._caller import caller, token_from
from ._output import emit
from ._proxied import fetched, placeholder_option, written


@click.command("proxy-env")
@click.option("--shell", is_flag=True, help='Print commands of a shell: eval "$(oo proxy-env --shell)".')
@click.option(
    "--dir", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Where the certificates go; else a cache."
)
@placeholder_option
@caller
def proxy_env(
    shell: bool, folder: str | None, placeholder: tuple[str, ...], token_file: str | None, base_url: str | None
) -> None:
    """Print what `oo run --proxied` sets for a program.

    The token is in them, as the proxy's password. The certificates are written into a folder, which stays.

    Example: OO_TOKEN=... eval "$(oo proxy-env --shell)"
    """
    from .._client.env_formats import format_env
    from .._client.forward_proxy import REMOVED, needs_forwarder, proxy_url, variables

    token = token_from(token_file)
    gateway, pem = fetched(base_url, token)
    if gateway.startswith("http+unix:"):
        raise click.ClickException("no program takes a Unix socket as its proxy: `oo run --proxied` reaches it")
    place = Path(folder) if folder is not None else _cache(token)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = variables(proxy_url(gateway, token), written(place.absolute(), pem, os.environ), placeholder)
    text = format_env(found, "sh" if shell else "docker")
    if shell:
        text = "".join(f"export {line}\n" for line in text.splitlines()) + f"unset {' '.join(REMOVED)}\n"
    emit(text, newline=False)
    if needs_forwarder(gateway):
        said = "wget, urllib and some others take no https:// proxy: `oo run --proxied` reaches one for them"
        click.echo(f"oo: {said}", err=True)


def _cache(token: str) -> Path:
    import hashlib

    from platformdirs import user_cache_path

    # Each token's certificates are for its own routes, and another shell may have another token.
    name = hashlib.sha256(token.encode()).hexdigest()[:16]
    return user_cache_path("double-o", appauthor=False) / "proxy" / name
