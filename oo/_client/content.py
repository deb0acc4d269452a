"""What a proxied call sends: JSON, bytes, a file, an iterator, a form or files, as a body and its Content-Type."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeAlias
from urllib.parse import quote, urlencode

from .._http.body import Body
from .._http.response import JSON
from ..exceptions import DoubleOError

Data: TypeAlias = (
    "bytes | bytearray | memoryview | str | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes] | Body"
    " | Mapping[str, object] | Sequence[tuple[str, object]]"
)
"""A body as it is: bytes, text (as UTF-8), a file opened for reading bytes, an iterator of bytes of either kind, a
Body; or a form's fields, as a mapping or as pairs."""

Contents: TypeAlias = "bytes | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes] | Body"
File: TypeAlias = "Contents | tuple[str | None, Contents] | tuple[str | None, Contents, str]"
"""A file to send: its contents, or `(name, contents)`, or `(name, contents, content type)`."""

Files: TypeAlias = "Mapping[str, File] | Sequence[tuple[str, File]]"
"""Files by the name of their field."""

Params: TypeAlias = "Mapping[str, object] | Sequence[tuple[str, object]]"
"""A query's parameters: a value that is a list is repeated, None is left out."""

_CHUNK = 64 << 10  # bytes of a file that are read at once
_NAMES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # WHATWG HTML, 4.10.21.8
_USE_DATA = "give it as data="


def content(
    payload: JSON, data: Data | None, files: Files | None, content_type: str | None
) -> tuple[bytes | Body | None, str | None]:
    """The body and, where the caller gave none, its Content-Type. ValueError says what cannot be sent."""
    if payload is not None:
        if data is not None or files is not None:
            raise ValueError("payload= is JSON, and goes alone: give either that, or data= and files=")
        if isinstance(payload, (bytes, bytearray, memoryview)):
            if content_type is None:
                raise ValueError(f"the payload is not JSON: bytes are none: {_USE_DATA}, or with a Content-Type")
            return bytes(payload), None
        return encode_json(payload), "application/json"
    if files is not None:
        return _multipart(data, files, content_type)
    if _is_form(data):
        return urlencode(_pairs(data)).encode("ascii"), "application/x-www-form-urlencoded"
    return None if data is None else _body(data), None


def with_params(path: str, params: Params | None) -> str:
    """`path` with the parameters behind what query it has."""
    query = "" if params is None else urlencode(_pairs(params), quote_via=quote)
    if not query:
        return path
    mark = "" if path.endswith(("?", "&")) else "&" if "?" in path else "?"
    return path + mark + query


def encode_json(payload: JSON) -> bytes:
    """Strict JSON in ASCII; ValueError, without a word of the payload, where it is none."""
    try:
        return json.dumps(payload, allow_nan=False, separators=(",", ":")).encode("ascii")
    except TypeError:
        why = "it holds an object of a foreign type"
        if hasattr(payload, "read") or isinstance(payload, (Iterator, AsyncIterable)):
            why = f"what is read or iterated is no JSON: {_USE_DATA}"
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError as error:
        said = str(error)
        why = "it holds itself" if "Circular" in said else "it holds NaN, an infinity or a number of too many digits"
    # Out here: json's errors quote the payload.
    raise ValueError(f"the payload is not JSON: {why}")


def _is_form(data: object) -> bool:
    if isinstance(data, (list, tuple)):
        return bool(data) and all(isinstance(each, tuple) and len(each) == 2 for each in data)
    return isinstance(data, Mapping)


def _body(data: Any) -> bytes | Body:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, str):
        return _utf8(data)
    if isinstance(data, Body):
        return data
    if hasattr(data, "read"):
        return _file(data)
    if isinstance(data, AsyncIterable):
        return Body(_checked(data))
    if isinstance(data, Iterable):
        # What gives a new iterator each time can be sent again; an iterator can not.
        once = iter(data) is data
        return Body(_iterated(data)) if once else Body(lambda: _iterated(data))
    raise ValueError(f"data= must be bytes, a file, an iterator of bytes or a form's fields, not {type(data).__name__}")


def _file(file: Any) -> Body:
    """A file from where it stands; it can be sent again, and its length is known, where it can seek."""
    if hasattr(file, "encoding"):
        raise ValueError("the file is opened as text: open it with mode 'rb'")
    if inspect.iscoroutinefunction(file.read):
        return Body(_checked(_read_async(file)))
    try:
        start = file.tell()
        length = file.seek(0, os.SEEK_END) - start
        file.seek(start)
    except (OSError, AttributeError, TypeError, ValueError):  # a pipe, or a file of one's own that cannot
        return Body(_iterated(_read(file, None)))
    return Body(lambda: _iterated(_read(file, start)), length=length)


def _read(file: Any, start: int | None) -> Iterator[bytes]:
    if start is not None:
        file.seek(start)
    while piece := file.read(_CHUNK):
        yield piece


async def _read_async(file: Any) -> AsyncIterator[bytes]:
    while piece := await file.read(_CHUNK):
        yield piece


async def _iterated(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield _checked_piece(piece)


async def _checked(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield _checked_piece(piece)


def _checked_piece(piece: object) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise DoubleOError(f"a piece of the request's body is {type(piece).__name__}, not bytes", reason="body")


def _multipart(data: object, files: Files, content_type: str | None) -> tuple[Body, str]:
    """A form with files (RFC 7578), which are read as they are sent."""
    if content_type is not None:
        raise ValueError("with files= the Content-Type is the library's own: it names the boundary between them")
    if data is not None and not _is_form(data):
        raise ValueError("with files=, data= is the other fields of the form, a mapping or pairs")
    boundary = os.urandom(16).hex()
    parts: list[bytes | Body] = []
    for name, value in _pairs(data or {}):
        parts += [_part_head(boundary, name), _utf8(value), b"\r\n"]
    for name, file in files.items() if isinstance(files, Mapping) else files:
        filename, body, kind = _file_part(file)
        parts += [_part_head(boundary, name, filename, kind), body, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return _joined(parts), f"multipart/form-data; boundary={boundary}"


def _file_part(file: Any) -> tuple[str, bytes | Body, str]:
    filename, contents, kind, *_ = (*file, None, None) if isinstance(file, tuple) else (None, file, None)
    if filename is None:
        path = getattr(contents, "name", None)
        filename = os.path.basename(path) if isinstance(path, str) and path[:1] != "<" else "upload"
    if kind is None:
        from mimetypes import guess_type

        kind = guess_type(filename)[0] or "application/octet-stream"
    if isinstance(contents, str):  # most often a path
        raise ValueError("a file of files= is text: open the file with mode 'rb', or give bytes")
    if isinstance(contents, Mapping) or contents is None:
        raise ValueError("a file of files= must be bytes, a file or an iterator of bytes")
    return filename, _body(contents), kind


def _part_head(boundary: str, name: object, filename: str | None = None, kind: str | None = None) -> bytes:
    if not isinstance(name, str) or not (kind is None or (isinstance(kind, str) and kind.isprintable())):
        raise ValueError("a field's name, and a file's type, must be strings of one line")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_NAMES)}"'
    if filename is not None:
        head += f'; filename="{filename.translate(_NAMES)}"\r\nContent-Type: {kind}'
    return _utf8(head + "\r\n\r\n")


def _joined(parts: Sequence[bytes | Body]) -> Body:
    lengths = [part.length if isinstance(part, Body) else len(part) for part in parts]
    known = [length for length in lengths if length is not None]

    async def pieces() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            async for piece in part:
                yield piece

    again: Callable[[], AsyncIterator[bytes]] | AsyncIterator[bytes] = pieces
    if any(isinstance(part, Body) and not part.replayable for part in parts):
        again = pieces()
    return Body(again, length=sum(known) if len(known) == len(lengths) else None)


def _pairs(fields: Any) -> list[tuple[str, str]]:
    """Names and values as they are written: a list is repeated, None left out, a bool in JSON's words."""
    try:
        items = list(fields.items() if isinstance(fields, Mapping) else fields)
        pairs = [
            (name, item)
            for name, value in items
            for item in (value if isinstance(value, (list, tuple)) else (value,))
            if item is not None
        ]
    except (TypeError, ValueError):
        raise ValueError("fields and parameters must be a mapping, or pairs of a name and a value") from None
    return [(_text(name), _text(value)) for name, value in pairs]


def _text(value: object) -> str:
    if not isinstance(value, (str, bool, int, float)):
        raise ValueError(f"a field or parameter must be text or a number, not {type(value).__name__}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    _utf8(text)
    return text


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    # Out here: the codec's error quotes the text.
    raise ValueError("a text holds half a character (a lone surrogate)")
