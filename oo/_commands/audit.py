"""`oo audit`: who called for what, when, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ._output import on_terminal, printable
from ._values import instant_ago
from ._vault import store_place, warn

_COLUMNS = ("event", "label", "operation", "target", "method", "path", "outcome", "status", "ms")


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come, until interrupted.")
@click.option("--file", type=click.Path(path_type=Path), help="The file that `oo serve --audit FILE` writes.")
@click.option("--since", metavar="WHEN", callback=instant_ago, help="From then on: 90m, 7d, 2026-01-31T12:00.")
@click.option("--token", metavar="ID", help="Of the token of that id or label.")
@click.option("--route", metavar="NAME", help="Of that route.")
@click.option("--outcome", metavar="WORD", help="With that outcome: allowed, begun, cut, used up, ...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as a pipe gets it anyway.")
def audit(
    follow: bool,
    file: Path | None,
    since: str | None,
    token: str | None,
    route: str | None,
    outcome: str | None,
    as_json: bool,
) -> None:
    """Print the audit, two lines of JSON for each call.

    Example: oo audit --since 1h --outcome cut
    """
    from ..gateway.audit_filter import AuditFilter
    from ..gateway.audit_log import AUDIT_FILE
    from ..gateway.audit_reader import read
    from ..gateway.open_store import is_postgres, key_home
    from ..gateway.paths import VAULT_FILE, data_dir

    path = key_home(place := store_place()) / VAULT_FILE
    if file is None and not path.exists() and not is_postgres(place):
        raise click.ClickException(f"there is no vault at {path}: run `oo init`")
    wanted = AuditFilter(since, token, route, outcome)
    short = on_terminal() and not as_json
    kept, matched = file or data_dir() / AUDIT_FILE, False
    if follow:
        warn(wanted.mistyped())
    for line, found in wanted.lines(read(kept, follow)):
        click.echo(_short(found) if short else line)
        matched = True
    if not matched:
        warn(wanted.unmatched(read(kept)) if kept.exists() else [f"there is no audit at {kept}"])


def _short(line: Mapping[str, Any]) -> str:
    """A line for a person: its local time, and what it says."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(str(line.get("time"))).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(0))
    known = {**line, "label": line.get("label") or line.get("token_id")}
    return printable(" ".join([moment, *(str(known[name]) for name in _COLUMNS if known.get(name) is not None)]))
