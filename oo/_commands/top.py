"""`oo top`: what a gateway is doing now, by route and by token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ._output import on_terminal, print_json, table
from ._values import Number, text_file

if TYPE_CHECKING:
    from rich.console import Group

    from ..gateway.overview import Look

_ROUTES = ("route", "open", "per_second", "ms", "calls", "4xx", "5xx", "in_per_second", "out_per_second")
_TOKENS = ("token", "route", "open", "per_second", "calls")
_ROWS = 15  # of each table that is drawn


@click.command()
@click.option("--admin", default="127.0.0.1:3002", show_default=True, metavar="ADDRESS", help="As `oo serve --admin`.")
@click.option("--token-file", metavar="FILE", help="Where the token of --metrics-token-file stands; - for a pipe.")
@click.option("--interval", default=2.0, show_default=True, type=Number(0.1, 3600), help="Seconds.")
@click.option("--once", is_flag=True, help="Look twice, print, and end; so it does where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, once.")
def top(admin: str, token_file: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Show what runs now, by route and by token.

    Example: oo top --admin /run/oo/admin.sock
    """
    from ..gateway.overview import by_route, by_token

    token = None if token_file is None else text_file(token_file).strip()
    before = _look(admin, token)
    if not (once or as_json) and on_terminal():
        _live(admin, token, interval, before)
        return
    time.sleep(interval)
    now = _look(admin, token)
    routes, tokens = by_route(now, before), by_token(now, before)
    if as_json:
        print_json({"routes": routes, "tokens": tokens})
        return
    table(routes, _ROUTES, False)
    table(tokens, _TOKENS, False)


def _look(admin: str, token: str | None) -> Look:
    from .._core.pipeline import run_sync
    from .._http.headers import Headers
    from .._http.request import Request
    from ..exceptions import DoubleOError
    from ..gateway.overview import look
    from ..transports.requests import RequestsTransport

    url = admin if "://" in admin else f"http+unix://{admin.replace('/', '%2F')}" if "/" in admin else f"http://{admin}"
    headers = Headers({} if token is None else {"Authorization": f"Bearer {token}"})
    transport = RequestsTransport()
    try:
        response = run_sync(transport.send(Request("GET", f"{url}/metrics", headers, base_url=url, timeout=10)))
    except DoubleOError as error:
        absent = error.reason == "connection" and "://" not in admin
        hint = f"; start the gateway with `oo serve --admin {admin}`" if absent else ""
        raise click.ClickException(f"{admin} cannot be asked: {error}{hint}") from None
    finally:
        run_sync(transport.close())
    if response.status != 200:
        raise click.ClickException(f"{admin} answers {response.status}: does a gateway run with that --admin?")
    return look(response.body.decode(), time.monotonic())


def _live(admin: str, token: str | None, interval: float, before: Look) -> None:
    from rich.live import Live

    last: Look | None = None
    with Live(_drawn(before, None), screen=True, auto_refresh=False) as live:
        while True:
            live.update(_drawn(before, last), refresh=True)
            try:
                time.sleep(interval)
            except KeyboardInterrupt:
                return
            last, before = before, _look(admin, token)


def _drawn(now: Look, before: Look | None) -> Group:
    from rich.console import Group

    from ..gateway.overview import by_route, by_token

    return Group(_table(by_route(now, before), _ROUTES), _table(by_token(now, before), _TOKENS))


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for column in columns:
        named = column.replace("_per_second", " B/s").replace("per_second", "/s")
        drawn.add_column(named, justify="left" if column in ("route", "token") else "right")
    for row in rows[:_ROWS]:
        drawn.add_row(*(Text("" if row[column] is None else str(row[column])) for column in columns))
    return drawn
