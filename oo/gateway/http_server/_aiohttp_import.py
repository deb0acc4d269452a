"""The import of aiohttp, without what nobody here uses: the certificates of every public authority, twice, and the
extensions that bring libraries of their own."""

from __future__ import annotations

import ssl
import sys

_UNUSED = ("brotlicffi", "brotli", "backports.zstd", "frozenlist._frozenlist", "_pickle", "bz2", "lzma")
"""What aiohttp, and what it imports, do without where it is not installed. Codings are undone by us
(`oo/transports/codings.py`); no applications, cookies or archives are made."""


def import_for_us_alone() -> None:
    """Import aiohttp into a process whose connections all bring an SSLContext (see Trust), as this library's do.

    The two that aiohttp makes when it is imported trust nobody then, so that a connection with the one that verifies is
    refused. They are a tenth of a start, and 2 MiB; the extensions, and the C++ library beneath one, are another.
    """
    hidden = dict.fromkeys(name for name in _UNUSED if name not in sys.modules)
    # It hides the base class's, which is there again when it is deleted.
    ssl.SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[assignment]  # in the place of one in C
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: whoever imports it now is told that it is not there
    try:
        import aiohttp  # noqa: F401  # the import is what is wanted
    finally:
        del ssl.SSLContext.set_default_verify_paths
        for name in hidden:
            del sys.modules[name]


def _read_nothing(_context: ssl.SSLContext) -> None:
    pass
