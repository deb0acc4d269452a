"""What the commands print: coloured tables on a terminal, plain text in a pipe, JSON where asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

as_json: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)
"""The --json option of a command that lists."""

_WORD = 24  # characters of a word that are not parted
_LEAST = 2  # columns that are shown, however narrow a terminal is


def emit(text: str | bytes, newline: bool = True) -> None:
    """Print a command's result at once, as UTF-8 in any locale. OSError if standard output is closed or full."""
    check_output()
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    click.echo(data + (b"\n" if newline else b""), nl=False)
    sys.stdout.flush()


def check_output() -> None:
    """Raise OSError if standard output is closed."""
    if sys.stdout is None or sys.stdout.closed:
        raise OSError("standard output is closed")


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool, shown: Sequence[str] | None = None
) -> None:
    """Print rows: as a JSON list, as a coloured table on a terminal, or as lines of tab-separated text.

    `shown` names the columns of the table, if they differ from those of the other two.
    """
    if as_json:
        print_json([{column: row[column] for column in columns} for row in rows])
    elif on_terminal():
        _draw(rows, shown or columns)
    else:
        for row in rows:
            click.echo("\t".join(_text(row[column]) for column in columns))


def show(known: Mapping[str, Any], as_json: bool) -> None:
    """Print one thing: its fields by name."""
    if as_json:
        print_json(known)
    else:
        table([{"what": what.replace("_", " "), "is": value} for what, value in known.items()], ("what", "is"), False)


def print_json(data: Any) -> None:
    """Print as JSON, with times in ISO 8601."""
    import json

    emit(json.dumps(data, indent=2, default=_iso))


def say_changes(what: str, changes: Sequence[str]) -> None:
    """Print a line for each change of a thing."""
    for change in changes or ("nothing changed",):
        click.echo(f"{what}: {printable(change)}")


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def printable(text: str, kept: str = "") -> str:
    """The text, with a ? for each character that a terminal might obey. Characters in `kept` stay."""
    return "".join(character if character.isprintable() or character in kept else "?" for character in text)


def moment(seconds: float | None) -> datetime | None:
    """A time as tables show it."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone()


def wrapped(text: str) -> str:
    """A text, broken between words at the terminal's width where there is a terminal."""
    if not on_terminal():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _draw(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def named(column: str) -> str:
        return column.replace("_", " ")

    # Names and labels are data, so rich must not read [markup] in them.
    console = Console(markup=False, highlight=False)
    if not rows:
        console.print("nothing yet")
        return
    cells = {column: [_text(row[column], "%Y-%m-%d %H:%M") for row in rows] for column in columns}
    shown = [column for column in columns if any(cells[column])]
    left_out: list[str] = []
    while (widths := _widths([[named(column), *cells[column]] for column in shown], console.width)) is None:
        if len(shown) <= _LEAST:
            widths = [None] * len(shown)
            break
        left_out.insert(0, named(shown.pop()))
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for column, width in zip(shown, widths, strict=True):
        # The first column is what other commands take: a name or an id.
        drawn.add_column(named(column), no_wrap=column == columns[0], overflow="fold", width=width)
    for texts in zip(*(cells[column] for column in shown), strict=True):
        drawn.add_row(*texts)
    console.print(drawn)
    if left_out:
        console.print(f"not shown, for want of room: {', '.join(left_out)}")


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int | None] | None:
    """The width of each column of texts, the first whole and no word of the others cut; None if there is no room."""
    from rich.cells import cell_len

    whole = [max(cell_len(line) for text in column for line in text.splitlines()) for column in columns]
    words = [max(cell_len(word) for text in column for word in text.split()) for column in columns]
    least = [whole[0], *(min(word, _WORD) for word in words[1:])]
    spare = room - 3 * len(columns) + 1 - sum(least)  # three between two, and one at either end
    if spare < 0:
        return None
    widths: list[int | None] = []
    for most, width in zip(whole, least, strict=True):
        more = min(most - width, spare)
        widths.append(width + more)
        spare -= more
    return widths


def _text(value: Any, times: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime(times) if times else _iso(value)
    if isinstance(value, (list, tuple)):
        texts = [_text(each) for each in value]
        return ("\n" if times and any(" " in text for text in texts) else ", ").join(texts)
    return printable(f"{value:g}" if isinstance(value, float) else str(value))


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="seconds")
