"""`oo proxy`: one call of the API behind a route."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .._core.masking import Mask, StreamMask
from ._caller import caller, client_at, token_from
from ._literal_mask import LiteralMask
from ._output import check_output, emit, on_terminal, printable
from ._values import opened

if TYPE_CHECKING:
    from .._client.streaming import Stream

Write = Callable[[bytes], object]


@click.command()
@click.argument("path")
@click.option("-X", "--method", metavar="METHOD", help="The method; GET without a payload, POST with one.")
@click.option(
    "-d", "--data", metavar="JSON|@FILE", help="The payload, or the file that holds it; @- for standard input."
)
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: TEXT'", help="A header to send.")
@click.option("-o", "--output", metavar="FILE", help="Write the answer to this file.")
@click.option("-i", "--include", is_flag=True, help="Print the status and the headers of the answer first.")
@caller
def proxy(
    path: str,
    method: str | None,
    data: str | None,
    headers: tuple[str, ...],
    output: str | None,
    include: bool,
    token_file: str | None,
    base_url: str | None,
) -> None:
    """Call the API behind the token's route, and print its answer.

    The answer is printed as it comes, text and bytes alike.

    Example: OO_TOKEN=... oo proxy v1/models
    """
    token = token_from(token_file)
    payload = None if data is None else _payload(data)
    sent = dict(map(_header, headers)) or None
    method = method or ("GET" if data is None else "POST")
    with (
        client_at(base_url) as client,
        client.stream(path, token, method, payload, sent) as response,
        _writing(output, response) as write,
    ):
        if include:
            write(_head(response))
        _copy(response, token, write)


def _copy(response: Stream, token: str, write: Write) -> None:
    """Write the body, the token masked in it, each piece as it comes."""
    mask = Mask([token])
    hidden, strings = StreamMask(mask), LiteralMask(mask)
    try:
        for piece in response.iter_bytes():
            write(hidden.feed(strings.feed(piece)))
    finally:
        # Also where it breaks off: what has come is shown.
        write(hidden.feed(strings.finish()) + hidden.finish())


@contextmanager
def _writing(output: str | None, response: Stream) -> Iterator[Write]:
    if output not in (None, "-"):
        with open(str(output), "wb") as file:
            yield file.write
        return
    check_output()
    if not on_terminal():
        yield lambda piece: emit(piece, newline=False) if piece else None
        return
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not _is_text(kind):
        raise click.ClickException(
            f"the answer is {printable(kind) or 'of no type'}, not text: give -o FILE, or a pipe"
        )
    screen = _Screen()
    try:
        yield screen.write
    finally:
        screen.end()


class _Screen:
    """Text for a terminal, which obeys nothing in it."""

    def __init__(self) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = "\n"

    def write(self, piece: bytes, final: bool = False) -> None:
        text = self._decoder.decode(piece, final).replace("\r\n", "\n")
        if text:
            emit(printable(text, kept="\n\t"), newline=False)
            self._last = text[-1]

    def end(self) -> None:
        self.write(b"", final=True)
        if self._last != "\n":
            emit("")


def _is_text(kind: str) -> bool:
    return not kind or kind.startswith("text/") or kind.endswith(("json", "xml", "javascript", "urlencoded", "yaml"))


def _head(response: Stream) -> bytes:
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers.items()), "", ""]
    return "\n".join(lines).encode("utf-8", "replace")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.ClickException("a -H without ':' is no 'Name: text'")
    return name.strip(), value.strip()


def _payload(data: str) -> Any:
    from .._core.files import decode_text

    if data.startswith("@"):
        with contextlib.closing(opened(data[1:])) if data != "@-" else contextlib.nullcontext(opened("-")) as file:
            data = decode_text(file.read())
    try:
        return json.loads(data, parse_float=_exact)
    except ValueError:
        raise click.ClickException("the payload is not JSON") from None
    except RecursionError:
        raise click.ClickException("the payload is nested too deeply") from None


def _exact(number: str) -> float:
    """A number that is sent as it was given, or not at all."""
    from decimal import Decimal

    value = float(number)
    if value in (float("inf"), float("-inf")) or Decimal(repr(value)) != Decimal(number):
        raise click.ClickException(f"the payload holds the number {number[:40]}, which would be sent as another")
    return value
