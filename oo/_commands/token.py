"""`oo token`."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from ._output import as_json, moment, table
from ._vault import with_vault

if TYPE_CHECKING:
    from ..gateway.models import Kind, Rate, Token

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 100 * 365 * _UNITS["d"]
_MOST = 10**9


@click.group()
def token() -> None:
    """Issue and revoke tokens.

    Each opens one secret, one environment or one route.

    Example: oo token issue --secret openai-key --ttl 24h
    """


@token.command("issue")
@click.option("--secret", metavar="NAME", help="Open this secret.")
@click.option("--env", metavar="NAME", help="Open this environment.")
@click.option("--route", metavar="NAME", help="Open this route.")
@click.option("--ttl", metavar="24h", help="How long it opens: a number with s, m, h or d.")
@click.option("--uses", type=click.IntRange(1, _MOST), metavar="N", help="How often it opens.")
@click.option("--rate", metavar="60/m", help="How often it opens in a time: a number by s, m, h or d.")
@click.option("--label", default="", metavar="TEXT", help="A note for `oo token list`.")
def token_issue(
    secret: str | None,
    env: str | None,
    route: str | None,
    ttl: str | None,
    uses: int | None,
    rate: str | None,
    label: str,
) -> None:
    """Issue a token, printed here and never again.

    Example: oo token issue --secret openai-key --ttl 24h --uses 10
    """
    options: tuple[tuple[Kind, str | None], ...] = (("secret", secret), ("env", env), ("route", route))
    given = [(kind, name) for kind, name in options if name is not None]
    if len(given) != 1:
        raise click.UsageError("name one thing to open: --secret, --env or --route")
    kind, name = given[0]
    seconds, limit = None if ttl is None else _duration(ttl), None if rate is None else _rate(rate)
    label.encode("utf-8")
    made = with_vault(lambda vault: vault.issue(kind, name, ttl=seconds, uses=uses, rate=limit, label=label))
    click.echo(made)


@token.command("list")
@as_json
def token_list(as_json: bool) -> None:
    """List the tokens by id; the tokens themselves are nowhere.

    Example: oo token list
    """
    now = time.time()
    rows = [_row(each, now) for each in with_vault(lambda vault: vault.tokens())]
    columns = ("id", "kind", "name", "state", "issued", "expires", "used", "uses", "rate", "label")
    table(rows, columns, as_json)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
def token_revoke(token_id: str) -> None:
    """Let a token open nothing from now on.

    ID is what `oo token list` shows first.

    Example: oo token revoke 3f2a9c01d4e5
    """
    with_vault(lambda vault: vault.revoke(token_id))
    click.echo(f"token {token_id} is revoked")


def _row(token: Token, now: float) -> dict[str, Any]:
    ended = token.expires is not None and token.expires <= now
    spent = token.uses is not None and token.used >= token.uses
    counted = token.uses is not None or token.rate is not None
    return {
        "id": token.id,
        "kind": token.kind,
        "name": token.name,
        "state": "revoked" if token.revoked else "expired" if ended else "used up" if spent else "open",
        "issued": moment(token.issued),
        "expires": moment(token.expires),
        "used": token.used if counted else None,
        "uses": token.uses,
        "rate": None if token.rate is None else _rate_text(token.rate),
        "label": token.label,
    }


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,10})([smhd])", text.strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter(f"{text!r} is no time such as 90s, 15m, 24h or 7d", param_hint="--ttl")
    return float(seconds)


def _rate(text: str) -> Rate:
    from ..gateway.models import Rate

    match = re.fullmatch(r"([0-9]{1,10})/([smhd])", text.strip())
    if match is None or not 0 < int(match[1]) <= _MOST:
        raise click.BadParameter(f"{text!r} is no rate such as 5/s, 60/m or 1000/d", param_hint="--rate")
    return Rate(int(match[1]), float(_UNITS[match[2]]))


def _rate_text(rate: Rate) -> str:
    units = {seconds: unit for unit, seconds in _UNITS.items()}
    return f"{rate.count}/{units.get(int(rate.seconds), f'{rate.seconds:g}s')}"
