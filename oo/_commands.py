"""The commands of `oo`. Each imports what it needs when it runs, so that `oo --help` is quick."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

import click

from ._version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="oo")
def oo() -> None:
    """Double-O: one token in, one secret or one API call out."""


@oo.command()
def demo() -> None:
    """Start a gateway and an API on free loopback ports, and show real calls through the default chain.

    Example: oo demo
    """
    try:
        from ._demo import run
    except ModuleNotFoundError as error:
        needs("server", error)
    sys.exit(0 if run(click.echo) else 1)


@oo.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=3001, show_default=True, help="The port; 0 takes a free one.")
def serve(host: str, port: int) -> None:
    """Run a gateway over a store in memory, with one secret in it to try.

    Example: oo serve --port 3001
    """
    try:
        from .server.memory import MemoryStore
        from .server.run import Gateway
    except ModuleNotFoundError as error:
        needs("server", error)

    async def run() -> None:
        store = MemoryStore()
        await store.put_secret("greeting", "hello from the gateway")
        async with Gateway(store, host, port) as gateway:
            click.echo(f"listening on {gateway.url}; this token opens the secret `greeting`:")
            click.echo(await store.issue("secret", "greeting"))
            await asyncio.Event().wait()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}")


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit code 1."""
    click.echo(f"oo: {message}", err=True)
    sys.exit(1)


def needs(extra: str, error: ModuleNotFoundError) -> NoReturn:
    """Say which extra brings a missing module."""
    fail(f'this needs {error.name}: pip install "double-o[{extra}]"')
