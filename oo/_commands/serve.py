"""`oo serve`: a gateway that answers callers."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ._audit_options import audit_options
from ._config import Configured, again, config_option
from ._output import printable
from ._serve_options import serve_options, settings_of
from ._vault import store_place, use_store, warn, with_vault
from .plugins import kinds_of, named_plugins

if TYPE_CHECKING:
    from ..gateway.serve_settings import ServeSettings
    from ..gateway.store.base import Keeper

_NEED_TLS = "callers' tokens need TLS (--tls-cert, --tls-key, or --behind-tls-proxy)"
_PLAIN_UDS = "--uds speaks plain HTTP: leave --tls-cert and --tls-key out"
_PLACE = ("host", "port", "uds", "uds_mode", "reuse_port", "behind_tls_proxy")  # options that a start alone reads
_NEED_TOKEN = "--admin needs TLS (--tls-cert, --tls-key) and a token (--metrics-token-file) there"


@click.command(cls=Configured, context_settings={"auto_envvar_prefix": "OO"})
@serve_options
@audit_options
@named_plugins
@config_option
@click.option("--check", is_flag=True, allow_from_autoenv=False, help="Say what would be, and end.")
@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Answer callers from the vault, until interrupted.

    Listens on loopback alone, unless TLS files are given or something in front of it does TLS. Each option may stand in
    a file (--config), and in the environment as OO_ and its name: OO_GRACE=10.

    Example: oo serve --port 3001 --workers 2
    """
    _begin(context, options["plugins"])
    from ..gateway.listening import handed_over, listen, url_of
    from ..gateway.paths import data_dir
    from ..gateway.process import preflight

    settings = settings_of(**options)
    use_store()
    with warnings.catch_warnings():
        if not options["check"]:
            warnings.simplefilter("ignore")  # the workers warn of it again, behind the first line
        preflight(data_dir(), settings)
    if options["check"]:
        _say_what_would_be(settings, options)
        return
    settings.audit.begin(data_dir())
    given = handed_over()
    encrypted = settings.tls is not None
    with ExitStack() as stack:
        # Whoever has handed a socket over keeps it open, and the connections that wait on it.
        sock, url, leave = (given[""], "", None) if "" in given else _bound(options, stack)
        stack.callback(sock.close)
        _require_tls(sock, encrypted or options["behind_tls_proxy"], _NEED_TLS)
        admin = None
        if settings.admin is not None:
            admin, settings = _admin(settings, given.get("admin"), stack)
        listen(sock, shared=settings.shared)
        # The first line, whatever there is to say: whoever has started this waits for it.
        click.echo(f"oo: listening on {url or url_of(sock, encrypted)}", err=True)
        _introduce(settings)
        code = _run(sock, settings, _again(context, settings.metrics_dir), admin, leave)
    sys.exit(code)


def _begin(context: click.Context, plugins: list[str]) -> None:
    """What holds until callers are answered."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to reload yet
    # What a start makes stays: the collector would go through it a hundred times, and find little.
    gc.disable()
    context.call_on_close(gc.enable)
    if not plugins and "OO_KMS" not in os.environ:  # which names plugins too: one may use aiohttp's own contexts
        from ..gateway.http_server._aiohttp_import import import_for_us_alone

        import_for_us_alone()


def _again(context: click.Context, counts: str) -> Callable[[], ServeSettings]:
    import logging

    def read(**options: Any) -> ServeSettings:
        changed = [name for name in _PLACE if options[name] != context.params[name]]
        if changed:
            said = "%s: what is listened on stays as it was until the gateway is started anew"
            logging.getLogger("oo.gateway").warning(said, ", ".join(changed).replace("_", "-"))
        return replace(settings_of(**options), metrics_dir=counts)

    return again(context, read)


def _admin(
    settings: ServeSettings, given: socket.socket | None, stack: ExitStack
) -> tuple[socket.socket, ServeSettings]:
    """The socket for administrators, and the settings with a place for what is counted."""
    from tempfile import TemporaryDirectory

    import prometheus_client  # noqa: F401  # what is missing is said before anything listens

    from ..gateway.listening import UnixPath, bound_at, listen

    address = settings.admin or ""
    try:
        sock = bound_at(address, reuse_port=settings.shared) if given is None else given
    except OSError as error:
        raise click.ClickException(f"--admin {address} cannot be listened on: {error.strerror}") from None
    stack.callback(sock.close)
    if given is None and "/" in address:
        stack.callback(UnixPath(os.path.abspath(address)).remove)
    _require_tls(sock, settings.tls is not None and settings.metrics_token_file is not None, _NEED_TOKEN)
    listen(sock, shared=settings.shared)
    try:
        counts = stack.enter_context(TemporaryDirectory(prefix="oo-metrics-"))
    except OSError as error:
        raise click.ClickException(f"--admin needs a place for temporary files: {error.strerror}; set TMPDIR") from None
    return sock, replace(settings, metrics_dir=counts)


def _introduce(settings: ServeSettings) -> None:
    import logging

    from ..gateway import logs

    logs.configure(settings.log_format, settings.log_level)
    known = _known(settings)
    logs.say(", ".join(f"{name} {value}" for name, value in known.items()), known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        found = with_vault(lambda vault: _weak_points(vault, settings))
    for warning in found:
        logging.getLogger("oo.gateway").warning("%s", printable(warning))


def _run(
    sock: socket.socket,
    settings: ServeSettings,
    reread: Callable[[], ServeSettings],
    admin: socket.socket | None,
    leave: Callable[[], object] | None,
) -> int:
    from ..gateway.paths import data_dir
    from ..gateway.process import run_worker

    if settings.workers > 1:
        from ..gateway.supervisor import Supervisor

        gc.enable()
        return Supervisor(sock, settings, reread, admin, leave).run()
    run_worker(sock, data_dir(), settings, reread, admin, leave)
    return 0


def _bound(options: dict[str, Any], stack: ExitStack) -> tuple[socket.socket, str, Callable[[], object]]:
    """The socket for callers, its URL where that cannot be seen of it, and what has no new connection begin there."""
    from ..gateway.listening import UnixPath, begin_no_more, bound, bound_unix, url_of

    host, port, uds, shared = options["host"], options["port"], options["uds"], options["reuse_port"]
    if uds is not None and options["tls_cert"] is not None:
        raise click.UsageError(_PLAIN_UDS)
    try:
        if uds is None:
            sock = bound(host, port, reuse_port=shared)
            return sock, "", partial(begin_no_more, sock)
        path = os.path.abspath(uds)
        sock = bound_unix(path, options["uds_mode"], replace=shared)
    except OSError as error:
        where = f"{host} port {port}" if uds is None else uds
        raise click.ClickException(f"{where} cannot be listened on: {error.strerror}") from None
    stack.callback(remove := UnixPath(path).remove)
    return sock, url_of(sock, False, path), remove


def _require_tls(sock: socket.socket, encrypted: bool, needed: str) -> None:
    from ..gateway.listening import is_loopback

    if not encrypted and not is_loopback(sock):
        host = sock.getsockname()[0]
        sock.close()
        raise click.ClickException(f"{host} is not loopback: {needed}")


def _check_addresses(settings: ServeSettings, options: dict[str, Any]) -> None:
    """Refuse what would be refused of the addresses, but for ports that are taken: the gateway may run already."""
    tls, host = settings.tls is not None, options["host"]
    if options["uds"] is None:
        _check_address(f"{host} port {options['port']}", f"[{host}]:0", tls or options["behind_tls_proxy"], _NEED_TLS)
    elif tls:
        raise click.UsageError(_PLAIN_UDS)
    if settings.admin is not None:
        import prometheus_client  # noqa: F401

        is_safe = tls and settings.metrics_token_file is not None
        if "/" not in settings.admin:
            _check_address(f"--admin {settings.admin}", settings.admin, is_safe, _NEED_TOKEN)


def _check_address(name: str, address: str, is_safe: bool, needed: str) -> None:
    from ..gateway.listening import bound, host_and_port

    try:
        with bound(host_and_port(address)[0], 0) as sock:
            _require_tls(sock, is_safe, needed)
    except OSError as error:
        raise click.ClickException(f"{name} cannot be listened on: {error.strerror}") from None


async def _weak_points(vault: Keeper, settings: ServeSettings) -> list[str]:
    from ..gateway.route_credentials import unknown_kinds
    from ..gateway.services import weak_uses

    kinds = kinds_of(list(settings.plugins))
    return [*await vault.warnings(), *await weak_uses(vault), *await unknown_kinds(vault, kinds)]


def _known(settings: ServeSettings) -> dict[str, str]:
    """What an operator wants to know of a gateway first."""
    from .._version import __version__
    from ..gateway.open_store import shown

    return {
        "version": __version__,
        "store": shown(store_place()),
        "workers": str(settings.workers),
        "plugins": ", ".join(settings.plugins) or "none",
    }


def _say_what_would_be(settings: ServeSettings, options: dict[str, Any]) -> None:
    from ..gateway.audit_log import AUDIT_FILE
    from ..gateway.paths import data_dir

    _check_addresses(settings, options)
    known: dict[str, Any] = {
        "listen": options["uds"] or f"{options['host']} port {options['port']}",
        **_known(settings),
        "tls": "none" if settings.tls is None else ", ".join(settings.tls),
        "audit": settings.audit.target or str(data_dir() / AUDIT_FILE),
        "admin": settings.admin or "none",
        "grace": f"{settings.grace:g} s",
        "max-conns": options["max_conns"] or "4096, fewer where the system allows fewer files",
        "log": f"{settings.log_format}, {settings.log_level}{', a line a call' if settings.access_log else ''}",
        "config": options["config"] or "none",
    }
    for name, value in known.items():
        click.echo(printable(f"{name}: {value}"))
    warn(with_vault(lambda vault: _weak_points(vault, settings)))
