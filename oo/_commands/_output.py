"""What the commands print: tables on a terminal, plain text in a pipe, JSON where asked, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import click

from .._messages import JSON
from ..exceptions import DoubleOError

as_json: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)
"""The --json option of a command that lists."""


def table(rows: Sequence[Mapping[str, JSON]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows: as a JSON list, as a coloured table on a terminal, or as lines of tab-separated text."""
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], indent=2))
        return
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(_text(row.get(column)) for column in columns))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold cyan")
    for row in rows:
        shown.add_row(*(_text(row.get(column)) for column in columns))
    # Names and labels are data: no [markup] in them is obeyed.
    console = Console(markup=False, highlight=False)
    console.print(shown if rows else "nothing yet")


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit code 1."""
    click.echo(f"oo: {' '.join(message.split())}", err=True)
    sys.exit(1)


@contextmanager
def errors() -> Iterator[None]:
    """Turns what may go wrong in a command into one line and exit code 1."""
    extras = {"aiohttp": "server", "cryptography": "server", "platformdirs": "server"}
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        fail(f'this needs {name}: pip install "double-o[{extras.get(name, "all")}]"')
    except DoubleOError as error:
        fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename + ': ' if isinstance(error.filename, str) else ''}{error.strerror or error}")


def _text(value: JSON) -> str:
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
