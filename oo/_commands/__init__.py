"""The commands of `oo`, in groups. Each imports what it needs when it runs, so that `oo --help` is quick."""

from __future__ import annotations

import click

from .._version import __version__
from . import calls, gateway, vault


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="oo")
def oo() -> None:
    """Double-O: one token in, one secret or one API call out.

    \b
    oo init                           make a vault
    oo secret set openai-key          keep a secret in it
    oo token issue --secret NAME      make a token that opens it
    oo serve                          answer callers
    OO_TOKEN=... oo get               fetch the secret
    """


for command in (*vault.COMMANDS, *gateway.COMMANDS, *calls.COMMANDS):
    oo.add_command(command)
