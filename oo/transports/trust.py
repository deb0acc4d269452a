"""Whose certificates are trusted."""

from __future__ import annotations

import os


def ca_bundle() -> str | None:
    """The file of trusted certificates that the environment names, if it does."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
