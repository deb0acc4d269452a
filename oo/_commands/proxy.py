"""`oo proxy`: makes one call to the API behind a route."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, TYPE_CHECKING

import click

from ._caller import caller, client_at, token_from
from ._output import check_output, emit, on_terminal, printable
from ._values import opened

if TYPE_CHECKING:
    from .._client.streaming import Stream

Write = Callable[[bytes], object]


@click.command()
@click.argument("path")
@click.option("-X", "--method", metavar="METHOD", help="The method; GET without a payload, POST with one.")
@click.option(
    "-d",
    "--data",
    metavar="JSON|@FILE",
    help="The payload, or its file (@-: a pipe); JSON, unless -H has another Content-Type.",
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

    The answer is printed as it comes, whether it is text or bytes.

    Example: OO_TOKEN=... oo proxy v1/models
    """
    from .._http.headers import Headers

    token = token_from(token_file)
    sent = dict(map(_header, headers))
    if data is not None and "Content-Type" not in Headers(sent):
        sent["Content-Type"] = "application/json"
    body = None if data is None else _body(data, Headers(sent)["Content-Type"])
    method = method or ("GET" if data is None else "POST")
    with (
        client_at(base_url) as client,
        client.stream(path, token, method, headers=sent, data=body) as response,
        _writing(output, response) as write,
    ):
        if include:
            write(_head(response))
        _copy(response, token, write)


def _copy(response: Stream, token: str, write: Write) -> None:
    """Write each piece of the body as it comes, with the token masked."""
    from .._core.masking import Mask, StreamMask, cut_off
    from ._literal_mask import LiteralMask

    mask = Mask([token])
    hidden, strings = StreamMask(mask), LiteralMask(mask)
    try:
        for piece in response.iter_bytes():
            write(hidden.feed(strings.feed(piece)))
    finally:
        # Also if the body breaks off: what has come is shown.
        write(cut_off(hidden.feed(strings.finish()) + hidden.finish(), token))


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
    """Writes text to a terminal, without the characters that a terminal would obey."""

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


def _body(given: str, kind: str) -> bytes | IO[bytes]:
    """The body to send, as it was given. It must be JSON unless another content type was given."""
    file: IO[bytes]
    if given == "@-":
        file = opened("-")
    elif given.startswith("@"):
        file = click.get_current_context().with_resource(opened(given[1:]))
    else:
        file = BytesIO(os.fsencode(given))
    kind = kind.partition(";")[0].strip().lower()
    return _json(file.read()) if kind == "application/json" or kind.endswith("+json") else file


def _json(data: bytes) -> bytes:
    from .._core.files import decode_text

    try:
        text = decode_text(data)
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        return text.encode()
    except ValueError:
        why = "the payload is not JSON; what else it is, -H 'Content-Type: ...' says"
    except RecursionError:
        why = "the payload is nested too deeply"
    raise click.ClickException(why)


def _refuse_constant(_name: str) -> None:
    raise ValueError  # NaN and Infinity (RFC 8259, 6)
