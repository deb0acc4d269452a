"""Content codings (RFC 9110, 8.4): which of them change nothing, and what undoes the others, in steps."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from ..exceptions import DoubleOError

STEP = 64 << 10
"""Bytes that one step gives, about."""

NO_CODINGS = frozenset({"", "identity", "none", "utf-8", "utf8", "binary", "8bit", "aws-chunked"})
"""What servers write as a Content-Encoding although the bytes are as they are."""

_ZSTD_WINDOW = 23  # 8 MiB, the most that a sender may ask for (RFC 9659, 3)


class Inflater(Protocol):
    """Undoes one compressed stream."""

    errors: tuple[type[Exception], ...]
    """What a broken stream raises."""
    several: bool
    """Whether another stream may follow the first."""
    eof: bool
    """Whether the stream has ended."""

    def step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """Some output, the input that is left, and whether there is more output without more input."""


class _Zlib:
    errors: tuple[type[Exception], ...] = (zlib.error,)

    def __init__(self, window: int, several: bool) -> None:
        self._inflate = zlib.decompressobj(window)
        self.several = several
        self.eof = False

    def step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        piece = self._inflate.decompress(data, STEP)
        self.eof = self._inflate.eof
        if self.eof:
            return piece, self._inflate.unused_data, False
        # zlib may have taken all of the input and still hold output.
        return piece, self._inflate.unconsumed_tail, len(piece) == STEP


class _Brotli:
    several = False

    def __init__(self, brotli: Any) -> None:
        self._inflate = brotli.Decompressor()
        self.errors: tuple[type[Exception], ...] = (brotli.error,)
        self.eof = False

    def step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        piece = self._inflate.process(data, output_buffer_limit=STEP)
        self.eof = self._inflate.is_finished()
        return piece, b"", bool(piece) and not self.eof


class _Zstd:
    several = True

    def __init__(self, zstd: Any) -> None:
        self._inflate = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})
        self.errors: tuple[type[Exception], ...] = (zstd.ZstdError,)
        self.eof = False

    def step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        piece = self._inflate.decompress(data, STEP)
        self.eof = self._inflate.eof
        return piece, self._inflate.unused_data if self.eof else b"", not (self.eof or self._inflate.needs_input)


def _gzip(_first: bytes) -> Inflater:
    return _Zlib(16 + zlib.MAX_WBITS, several=True)  # RFC 1952, 2.2: of several members


def _deflate(first: bytes) -> Inflater:
    # "deflate" means zlib (RFC 9110, 8.4.1.2), but some servers send it bare.
    bare = not (first[0] & 0x0F == 8 and first[0] >> 4 <= 7)
    return _Zlib(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS, several=False)


def _br(_first: bytes) -> Inflater:
    brotli = _module("brotli")
    # Earlier than 1.2, what a few bytes open into comes at once, however much it is.
    if not hasattr(getattr(brotli, "Decompressor", None), "can_accept_more_data"):
        raise _refusal("br", "brotli>=1.2")
    return _Brotli(brotli)


def _zstd(_first: bytes) -> Inflater:
    zstd = _module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    if zstd is None:
        raise _refusal("zstd", "backports.zstd")
    return _Zstd(zstd)


_CODINGS: dict[str, Callable[[bytes], Inflater]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,  # RFC 9110, 8.4.1.3
    "deflate": _deflate,
    "br": _br,
    "zstd": _zstd,
}


def inflater(coding: str, first: bytes) -> Inflater:
    """What undoes a stream that begins with `first`. DoubleOError (reason "protocol") where nothing here can."""
    make = _CODINGS.get(coding)
    if make is None:
        raise DoubleOError("the answer came in an encoding that was not asked for", reason="protocol")
    return make(first)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _refusal(coding: str, package: str) -> DoubleOError:
    what = f'the answer came compressed as {coding}, which was not asked for; to read it, pip install "{package}"'
    return DoubleOError(what, reason="protocol")
