"""What the commands print: coloured tables on a terminal, plain text in a pipe, JSON where asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

as_json: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)
"""The --json option of a command that lists."""


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows: as a JSON list, as a coloured table on a terminal, or as lines of tab-separated text."""
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], indent=2, default=_iso))
    elif on_terminal():
        _draw(rows, columns)
    else:
        for row in rows:
            click.echo("\t".join(_text(row[column]) for column in columns))


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def printable(text: str, kept: str = "") -> str:
    """The text with a ? in the place of each character that a terminal might obey, but for those `kept`."""
    return "".join(character if character.isprintable() or character in kept else "?" for character in text)


def moment(seconds: float | None) -> datetime | None:
    """A time as the tables show it."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone()


def _draw(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Names and labels are data: no [markup] in them is obeyed.
    console = Console(markup=False, highlight=False)
    if not rows:
        console.print("nothing yet")
        return
    shown = [column for column in columns if any(_text(row[column]) for row in rows)]
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for column in shown:
        # What comes first is what other commands want: a name, an id.
        drawn.add_column(column, no_wrap=column == columns[0], overflow="fold")
    for row in rows:
        drawn.add_row(*(_text(row[column], "%Y-%m-%d %H:%M") for column in shown))
    console.print(drawn)


def _text(value: Any, times: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime(times) if times else _iso(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return printable(f"{value:g}" if isinstance(value, float) else str(value))


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="seconds")
