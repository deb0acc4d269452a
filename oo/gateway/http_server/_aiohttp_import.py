"""The import of aiohttp, without the certificates that it would read: those of every public authority, twice."""

from __future__ import annotations

import ssl


def import_for_us_alone() -> None:
    """Import aiohttp into a process whose connections all bring an SSLContext (see Trust), as this library's do.

    The two that aiohttp makes when it is imported trust nobody then, so that a connection with the one that verifies is
    refused. They are a tenth of a start, and 2 MiB.
    """
    # It hides the base class's, which is there again when it is deleted.
    ssl.SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[assignment]  # in the place of one in C
    try:
        import aiohttp  # noqa: F401  # the import is what is wanted
    finally:
        del ssl.SSLContext.set_default_verify_paths


def _read_nothing(_context: ssl.SSLContext) -> None:
    pass
