"""`oo demo`: real calls through the chain."""

from __future__ import annotations

import sys

import click


@click.command()
def demo() -> None:
    """Show real calls through the chain, in both worlds.

    It starts a gateway and an API on free loopback ports, and calls them.

    Example: oo demo
    """
    from .._demo import run

    sys.exit(0 if run(click.echo) else 1)
