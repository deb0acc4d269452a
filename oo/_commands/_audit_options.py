"""The options of `oo serve` that say how the audit is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..gateway.audit_log import AuditSettings

Command = TypeVar("Command", bound=Callable[..., Any])
_OPTIONS = [
    click.option("--audit", help="Where the audit goes: a file, or - for standard output; audit.jsonl unless told."),
    click.option("--audit-required", is_flag=True, help="Refuse a call (503) whose line cannot be written."),
    click.option(
        "--trust-proxy",
        multiple=True,
        metavar="ADDRESS",
        help="A proxy, or a network of them, whose X-Forwarded-For the audit believes; repeatable.",
    ),
]


def audit_options(command: Command) -> Command:
    """Give a command the options of the audit."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def audit_settings(audit: str | None, audit_required: bool, trust_proxy: tuple[str, ...]) -> AuditSettings:
    """How the audit is kept by these options."""
    from ..gateway.audit_log import AuditSettings

    return AuditSettings(audit, audit_required, tuple(trust_proxy))
