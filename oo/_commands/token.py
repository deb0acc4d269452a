"""`oo token`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, check_output, emit, moment, table
from ._signals import PutOff
from ._values import WholeNumber, duration, rate
from ._vault import with_vault

if TYPE_CHECKING:
    from ..gateway.models import Kind, Rate, Token
    from ..gateway.store.base import Keeper

F = TypeVar("F", bound=Callable[..., Any])

_KINDS: tuple[Kind, ...] = ("secret", "env", "route", "bundle")
_COLUMNS = ("id", "kind", "name", "state", "issued", "expires", "used", "uses", "rate", "concurrency", "label")
_SHOWN = ("id", "opens", "state", "left", "times", "rate", "at once", "label")


def _things(verb: str, multiple: bool) -> Callable[[F], F]:
    def add(command: F) -> F:
        for kind in reversed(_KINDS):
            command = click.option(f"--{kind}", metavar="NAME", multiple=multiple, help=f"{verb} this {_WORDS[kind]}.")(
                command
            )
        return command

    return add


_WORDS = {"secret": "secret", "env": "environment", "route": "route", "bundle": "bundle"}


@click.group()
def token() -> None:
    """Issue and revoke tokens.

    Each opens one secret, one environment, one route, or a bundle of routes.

    Example: oo token issue --secret openai-key --ttl 24h
    """


@token.command("issue")
@_things("Open", multiple=False)
@click.option("--ttl", type=duration, metavar="24h", help="How long it opens: a number with s, m, h or d.")
@click.option("--uses", type=WholeNumber(1, 10**9), metavar="N", help="How often it opens.")
@click.option("--rate", type=rate, metavar="60/m", help="How often it opens in a time: by s, m, h or d.")
@click.option("--concurrency", type=WholeNumber(1, 10**6), metavar="N", help="How many calls at once it opens for.")
@click.option("--label", default="", metavar="TEXT", help="A note for `oo token list`.")
@as_json
def token_issue(
    ttl: float | None,
    uses: int | None,
    rate: Rate | None,
    concurrency: int | None,
    label: str,
    as_json: bool,
    **things: str | None,
) -> None:
    """Issue a token. It is printed once and never again; its id goes to standard error.

    If it cannot be printed, or Ctrl-C comes before that, it is revoked.

    Example: oo token issue --secret openai-key --ttl 24h --uses 10
    """
    from ..gateway.services import issue

    given: list[tuple[Kind, str]] = [(kind, name) for kind in _KINDS if (name := things[kind]) is not None]
    if len(given) != 1:
        raise click.UsageError("name one thing to open: --secret, --env, --route or --bundle")
    kind, name = given[0]
    label.encode("utf-8")
    check_output()

    async def make(vault: Keeper) -> str:
        made = await issue(vault, kind, name, ttl=ttl, uses=uses, rate=rate, label=label, concurrency=concurrency)
        try:
            with signals.interruptible():
                emit(json.dumps({"id": made.id, "token": made.token}) if as_json else made.token)
        except BaseException:  # stopped by Ctrl-C too: it was not handed out
            await vault.revoke(made.id)
            raise
        return made.id

    # Around the loop as well: on Ctrl-C asyncio ends the wait, but the token would be made all the same.
    with PutOff() as signals:
        identity = with_vault(make)
    if not as_json:
        click.echo(f"oo: its id is {identity}", err=True)


@token.command("list")
@_things("Only what opens", multiple=True)
@click.option(
    "--state",
    multiple=True,
    type=click.Choice(("open", "revoked", "expired", "used up")),
    help="Only those in this state.",
)
@click.option("--label", metavar="TEXT", help="Only those whose label holds this.")
@as_json
def token_list(state: tuple[Any, ...], label: str | None, as_json: bool, **things: tuple[str, ...]) -> None:
    """List the tokens by id. The tokens themselves are stored nowhere.

    Example: oo token list --route openai --state open
    """
    from ..gateway.services import tokens

    wanted = [(kind, name) for kind in _KINDS for name in things[kind]]
    now = time.time()
    rows = [_row(token, now) for token in with_vault(lambda vault: tokens(vault, wanted, state, label))]
    table(rows, _COLUMNS, as_json, shown=_SHOWN)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
def token_revoke(token_id: str) -> None:
    """Revoke a token: it opens nothing from now on.

    ID is the first column of `oo token list`.

    Example: oo token revoke 3f2a9c01d4e5
    """
    from ..gateway.services import revoke

    with_vault(lambda vault: revoke(vault, token_id))
    click.echo(f"token {token_id} is revoked")


@token.command("prune")
def token_prune() -> None:
    """Delete the tokens that are revoked, expired or used up.

    Example: oo token prune
    """
    from ..gateway.services import prune_tokens

    pruned = with_vault(prune_tokens)
    click.echo(f"tokens forgotten: {len(pruned)}")


def _row(token: Token, now: float) -> dict[str, Any]:
    from ..gateway.rules import format_rate
    from ..gateway.services import state_of

    counted = token.uses is not None or token.rate is not None
    times = token.used if token.uses is None else f"{token.used}/{token.uses}"
    return {
        "id": token.id,
        "kind": token.kind,
        "name": token.name,
        "state": state_of(token, now),
        "issued": moment(token.issued),
        "expires": moment(token.expires),
        "used": token.used if counted else None,
        "uses": token.uses,
        "rate": None if token.rate is None else format_rate(token.rate),
        "concurrency": token.concurrency,
        "label": token.label,
        # For the table alone, which has to fit in 80 columns.
        "opens": f"{token.kind} {token.name}",
        "times": times if counted else None,
        "at once": token.concurrency,
        "left": None if token.expires is None else _span(token.expires - now),
    }


def _span(seconds: float) -> str:
    """A time in its two largest units, such as 6d 23h."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
