"""The options of `oo serve`, by subject."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._audit_options import audit_settings
from ._config import FromEnvironment
from ._values import Number, WholeNumber

if TYPE_CHECKING:
    from ..gateway.serve_settings import ServeSettings

Command = TypeVar("Command", bound=Callable[..., Any])
_MODE = re.compile(r"0?[0-7]{3}")


def _mode(_context: click.Context, _option: click.Parameter, given: str) -> int:
    if not _MODE.fullmatch(given):
        raise click.BadParameter(f"{given!r} is no mode such as 0600 or 0660")
    return int(given, 8)


_ADDRESS = [
    click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
    click.option(
        "--port",
        default=3001,
        show_default=True,
        type=WholeNumber(0, 65535),
        cls=FromEnvironment,
        help="The port; 0 takes a free one.",
    ),
    click.option("--uds", metavar="PATH", help="Listen on a Unix socket, not on a port."),
    click.option(
        "--uds-mode", default="0600", show_default=True, callback=_mode, help="Who may connect to it: its file's mode."
    ),
    click.option("--reuse-port", is_flag=True, help="Let another `oo serve` listen on the same port, to take over."),
    click.option("--workers", default=1, show_default=True, type=WholeNumber(1, 64), help="Processes on that port."),
    click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="A certificate chain (PEM)."),
    click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM)."),
    click.option("--behind-tls-proxy", is_flag=True, help="Something in front of this speaks TLS with the callers."),
]
_LIMITS = [
    click.option(
        "--grace",
        default=30.0,
        show_default=True,
        type=Number(0, 86400),
        metavar="SECONDS",
        help="What calls under way are given when the gateway is told to end.",
    ),
    click.option(
        "--max-conns", type=WholeNumber(1, 65536), help="Connections that a worker holds at once; 4096 unless told."
    ),
]
_PROXY = [
    click.option(
        "--elsewhere",
        default="refuse",
        show_default=True,
        type=click.Choice(["refuse", "tunnel"]),
        help="What the forward proxy does where no route goes: tunnel leads blindly to port 443 of public addresses.",
    ),
]
_LOGS = [
    click.option(
        "--log-format", default="text", show_default=True, type=click.Choice(["text", "json"]), help="Of each line."
    ),
    click.option(
        "--log-level",
        default="info",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="From which level on lines are written.",
    ),
    click.option("--access-log", is_flag=True, help="Write a line to standard error for each call."),
]


_ADMIN = [
    click.option("--traces", is_flag=True, help="Send a span of each call to OTEL_EXPORTER_OTLP_ENDPOINT."),
    click.option(
        "--admin", metavar="ADDRESS", help="Answer /metrics and /ready on HOST:PORT or a Unix socket of its own."
    ),
    click.option(
        "--metrics-token-file",
        type=click.Path(dir_okay=False),
        help="The token that --admin asks for, which it must off loopback.",
    ),
]


def serve_options(command: Command) -> Command:
    """Give a command the options of the address, the limits, the forward proxy and the logs."""
    for option in reversed([*_ADDRESS, *_LIMITS, *_PROXY, *_LOGS, *_ADMIN]):
        command = option(command)
    return command


def settings_of(**options: Any) -> ServeSettings:
    """How the gateway runs by these options."""
    from ..gateway.serve_settings import ServeSettings

    cert, key = options["tls_cert"], options["tls_key"]
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    names = (
        "workers",
        "grace",
        "max_conns",
        "log_format",
        "log_level",
        "access_log",
        "traces",
        "admin",
        "metrics_token_file",
    )
    return ServeSettings(
        tls=None if cert is None else (cert, key),
        plugins=tuple(options["plugins"]),
        audit=audit_settings(options["audit"], options["audit_required"], options["trust_proxy"]),
        elsewhere=options["elsewhere"] == "tunnel",
        shared=options["reuse_port"] and options["uds"] is None,
        **{name: options[name] for name in names},
    )
