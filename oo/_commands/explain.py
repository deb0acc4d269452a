"""`oo explain`: what the gateway would do with a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ._caller import token_from
from ._output import printable
from ._values import FilePath
from ._vault import with_vault
from .plugins import kinds_of, named_plugins

if TYPE_CHECKING:
    from ..gateway.explain import Explanation
    from ..gateway.store.base import Keeper


@click.command()
@click.argument("call", metavar="'METHOD PATH'")
@click.option(
    "--token-file",
    type=FilePath(exists=True, dir_okay=False),
    help="A file that holds the token; else OO_TOKEN or standard input.",
)
@named_plugins
def explain(call: str, token_file: str | None, plugins: list[str]) -> None:
    """Say what the gateway would do with a call, step by step.

    If a step refuses the call, say which, and what to do about it; the exit code is then 1. The call runs here, through
    the gateway's own chain over the vault. Nothing is sent, counted or written. PATH is a path of the API, or
    /api/secret, /api/env or /health; a URL of the API's own is asked for by the forward proxy.

    Example: OO_TOKEN=... oo explain 'POST /v1/chat/completions'
    """
    from ..gateway.destinations import absolute_form
    from ..gateway.explain import LookingStore
    from ..gateway.explain import explain as explained

    method, _, path = call.strip().partition(" ")
    path = path.strip()
    if not path.startswith("/") and absolute_form(path) is None:
        raise click.UsageError("a call is a method and a path, such as 'POST /v1/chat/completions'")
    token, kinds = token_from(token_file), kinds_of(plugins)

    async def run(vault: Keeper) -> Explanation:
        return await explained(LookingStore(vault), token, method, path, kinds)

    told = with_vault(run)
    for what, word in told.words:
        _say(what, word)
    if told.refusal is None:
        return
    _say("refused", f"by {told.refusal.by}: {told.refusal.message}")
    if told.refusal.mend:
        _say("mend", told.refusal.mend)
    click.get_current_context().exit(1)


def _say(what: str, word: str) -> None:
    from .._http.request import without_tokens

    click.echo(printable(f"{what:9} {without_tokens(word)}"))  # a token may stand in the path by mistake
