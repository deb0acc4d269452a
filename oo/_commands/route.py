"""`oo route`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, say_changes, table
from ._vault import add_rm, with_vault

if TYPE_CHECKING:
    from ..gateway.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, dict[str, Any]] = {
    "upstream": {
        "multiple": True,
        "metavar": "'URL [weight=N]'",
        "help": "The API's base URL, or one of several; what callers ask for comes behind.",
    },
    "inject": {
        "multiple": True,
        "metavar": "'HEADER: TEXT'",
        "help": "A header to send; {name} is a secret's value.",
    },
    "allow": {
        "multiple": True,
        "metavar": "'METHOD PATH'",
        "help": "What callers may do; * is anything. All, if none.",
    },
    "pass-header": {
        "multiple": True,
        "metavar": "HEADER",
        "help": "Pass this header on as the caller sent it, Range say.",
    },
    "with": {
        "multiple": True,
        "metavar": "'NAME KEY=VALUE ...'",
        "help": "Settings for the plugin NAME; with none, it has none.",
    },
    "drop-header": {
        "multiple": True,
        "metavar": "HEADER",
        "help": "Keep this header of callers back.",
    },
    "cors": {
        "multiple": True,
        "metavar": "ORIGIN",
        "help": "Let programs in browsers call, from pages of this origin.",
    },
    "retries": {"type": int, "metavar": "N", "help": "How often a call that may be repeated is; 0 unless told."},
    "timeout": {"type": float, "metavar": "SECONDS", "help": "How long one call may take; 60 unless told."},
}
_FLAGS = {
    "allow-private": "Let the upstream be at a private or loopback address.",
    "allow-plain-http": "Let what is sent go in clear, over http to another machine.",
    "websocket": "Let callers open WebSockets; each message is masked.",
    "allow-weak": "Inject a value of less than 8 characters, which is not masked in what comes back.",
}


def _settings(command: F) -> F:
    """The options that say what a route is."""
    for flag, text in reversed(_FLAGS.items()):
        command = click.option(f"--{flag}/--no-{flag}", default=None, help=text)(command)
    for name, option in reversed(_OPTIONS.items()):
        command = click.option(f"--{name}", **option)(command)
    return command


@click.group()
def route() -> None:
    """Keep routes, upstream APIs and what callers may do there.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """


@route.command("set")
@click.argument("name")
@_settings
@click.option("--replace", is_flag=True, help="Put it in the place of the one that is there.")
def route_set(name: str, replace: bool, **settings: Any) -> None:
    """Keep a route. One that is there is kept, unless --replace.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """
    from ..gateway.models import Route
    from ..gateway.services import put_route

    if not settings["upstream"]:
        raise click.UsageError("a route needs --upstream, the API's base URL")
    made = Route(name, **_given(settings))
    with_vault(lambda vault: put_route(vault, made, override=replace))
    click.echo(f"route {name}")


@route.command("update")
@click.argument("name")
@_settings
@click.option("--drop", multiple=True, metavar="HEADER", help="Inject this header no longer.")
@click.option("--allow-all", is_flag=True, help="Let callers do anything, as without --allow.")
def route_update(name: str, drop: tuple[str, ...], allow_all: bool, **settings: Any) -> None:
    """Change what is named of a route, and nothing else; says what changed.

    --inject sets that header and leaves the others; --allow stands for the whole list.

    Example: oo route update openai --timeout 120
    """
    from ..gateway.services import update_route

    changes = _given(settings)
    if drop:
        changes["inject"] = {**changes.get("inject", {}), **dict.fromkeys(drop)}
    if allow_all:
        changes["allow"] = ()
    if not changes:
        raise click.UsageError("name what is to change, such as --timeout 120")
    say_changes(f"route {name}", with_vault(lambda vault: update_route(vault, name, changes)))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Route that the options name."""
    from ..gateway.plugin_settings import parse_settings
    from ..gateway.rules import injected, parse_upstreams

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    for option, name in (("pass_header", "pass_headers"), ("drop_header", "drop_headers"), ("cors", "cors")):
        if option in given:
            given[name] = tuple(filter(None, given.pop(option)))
    if "upstream" in given:
        given.update(parse_upstreams(given["upstream"]))
    if texts := given.pop("with", ()):
        given["settings"] = parse_settings(texts)
    if "inject" in given:
        given["inject"] = injected(map(_header, given["inject"]))
    return given


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon:
        # It may be a key, and is not said again.
        raise click.ClickException("an --inject without ':' is no 'Header: text'")
    return name, value


@route.command("list")
@as_json
def route_list(as_json: bool) -> None:
    """List the routes, injected headers by name only.

    Example: oo route list
    """
    from ..gateway.plugin_settings import listed_settings

    async def read(vault: Vault) -> list[dict[str, Any]]:
        routes = [await vault.route(name) for name in await vault.names("route")]
        return [
            {
                "name": route.name,
                "upstream": ", ".join(map(str, route.upstreams)),
                "upstreams": list(map(str, route.upstreams)),
                "inject": list(route.inject),
                "secrets": sorted(route.secrets),
                "allow": list(route.allow) or ["* /*"],
                "passed": list(route.pass_headers),
                "dropped": list(route.drop_headers),
                "retries": route.retries,
                "cors": list(route.cors),
                "with": listed_settings(route.settings),
                "timeout": route.timeout,
                "websocket": route.websocket,
                "private": route.allow_private,
                "plain_http": route.allow_plain_http,
                "weak": route.allow_weak,
            }
            for route in routes
            if route is not None
        ]

    columns = ("name", "upstream", "inject", "secrets", "allow", "timeout", "private")
    more = ("plain_http", "weak", "passed", "dropped", "upstreams", "retries", "cors", "websocket", "with")
    table(with_vault(read), columns + more, as_json, shown=columns)


add_rm(route, "route")
