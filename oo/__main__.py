"""`python -m oo`: the `oo` command."""

from __future__ import annotations

from .cli import main

main()
