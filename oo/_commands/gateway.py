"""The commands that run a gateway: serve and demo."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import click

from ._audit_options import audit_options
from ._vault import store_place, warn, with_vault
from .plugins import kinds_of, named_plugins

if TYPE_CHECKING:
    from ..gateway.audit_log import AuditSettings

_NEED_TLS = "callers' tokens need TLS (--tls-cert, --tls-key, or --behind-tls-proxy)"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=3001, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 takes a free one."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes on that port.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="A certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM).")
@click.option("--behind-tls-proxy", is_flag=True, help="Something in front of this speaks TLS with the callers.")
@audit_options
@named_plugins
def serve(
    host: str,
    port: int,
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    behind_tls_proxy: bool,
    audit: AuditSettings,
    plugins: list[str],
) -> None:
    """Answer callers from the vault, until interrupted.

    Listens on loopback alone, unless TLS files are given or something in front of it does TLS.

    Example: oo serve --port 3001 --workers 2
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    from ..gateway import process as serving
    from ..gateway.app import url_of
    from ..gateway.audit_log import AUDIT_FILE
    from ..gateway.paths import begin_file, data_dir
    from ..gateway.route_credentials import unknown_kinds
    from ..gateway.services import weak_uses

    tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
    place = store_place()
    warn(serving.preflight(data_dir(), tls, plugins, audit, place))
    warn(with_vault(weak_uses))
    kinds = kinds_of(plugins)
    warn(with_vault(lambda vault: unknown_kinds(vault, kinds)))
    if audit.target is None:
        begin_file(data_dir(), AUDIT_FILE)
    sock = _listening(host, port, tls is not None or behind_tls_proxy)
    click.echo(f"oo: listening on {url_of(sock, tls is not None)}", err=True)
    if workers == 1:
        serving.run_worker(sock, data_dir(), tls, plugins, audit, place)
    else:
        sys.exit(serving.run_supervisor(sock, workers, tls, plugins, audit, place))


def _listening(host: str, port: int, encrypted: bool) -> socket.socket:
    from ..gateway.app import bound
    from ..gateway.process import is_loopback

    try:
        sock = bound(host, port)
    except OSError as error:
        raise click.ClickException(f"{host} port {port} cannot be listened on: {error.strerror}") from None
    if not is_loopback(sock) and not encrypted:
        sock.close()
        raise click.ClickException(f"{host} is not loopback: {_NEED_TLS}")
    sock.listen(1024)  # before the workers are up: until then the system holds callers in its queue
    return sock


@click.command()
def demo() -> None:
    """Show real calls through the chain, in both worlds.

    It starts a gateway and an API on free loopback ports, and calls them.

    Example: oo demo
    """
    from .._demo import run

    sys.exit(0 if run(click.echo) else 1)
