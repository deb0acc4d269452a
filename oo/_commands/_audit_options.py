"""The options of `oo serve` that say how the audit is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click


def audit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the audit; it gets them as `audit`, an AuditSettings."""

    @click.option("--audit", help="Where the audit goes: a file, or - for standard output; audit.jsonl unless told.")
    @click.option("--audit-required", is_flag=True, help="Refuse a call (503) whose line cannot be written.")
    @click.option(
        "--trust-proxy",
        multiple=True,
        metavar="ADDRESS",
        help="A proxy, or a network of them, whose X-Forwarded-For the audit believes; repeatable.",
    )
    @functools.wraps(command)
    def wrapped(*, audit: str | None, audit_required: bool, trust_proxy: tuple[str, ...], **options: Any) -> None:
        from ..gateway.audit_log import AuditSettings

        command(audit=AuditSettings(audit, audit_required, trust_proxy), **options)

    return wrapped
