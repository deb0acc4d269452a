"""`oo route`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, say_changes, show, table
from ._values import text_file
from ._vault import add_rm, with_vault
from .plugins import kinds_of, plugin_kinds

if TYPE_CHECKING:
    from ..gateway.models import Route
    from ..gateway.store.base import Keeper

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, dict[str, Any]] = {
    "upstream": {
        "multiple": True,
        "metavar": "'URL [weight=N]'",
        "help": "The API's base URL, or one of several; its path may hold {name}, a secret's value.",
    },
    "inject": {
        "multiple": True,
        "metavar": "'HEADER: TEXT'",
        "help": "A header to send; {name} is a secret's value, {{ a brace.",
    },
    "query": {
        "multiple": True,
        "metavar": "'NAME=TEXT'",
        "help": "A parameter to add to the query; {name} as above.",
    },
    "basic": {"metavar": "'USER:PASSWORD'", "help": "Basic credentials to send; {name} as above."},
    "credential": {
        "multiple": True,
        "metavar": "'KIND OPTION=TEXT...'",
        "help": "oauth2, sigv4, jwt, github-app, gcp-service-account, or a plugin's.",
    },
    "ca": {"type": text_file, "metavar": "FILE", "help": "Authorities to trust beside the public ones, in PEM."},
    "cert": {
        "type": text_file,
        "metavar": "FILE",
        "help": "A certificate to show to the upstream, in PEM; with --key.",
    },
    "key": {"metavar": "'{SECRET}'", "help": "The secret that is the private key to --cert."},
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
    """Give a command the options that describe a route."""
    for flag, text in reversed(_FLAGS.items()):
        command = click.option(f"--{flag}/--no-{flag}", default=None, help=text)(command)
    for name, option in reversed(_OPTIONS.items()):
        command = click.option(f"--{name}", **option)(command)
    return plugin_kinds(command)


@click.group()
def route() -> None:
    """Keep routes: upstream APIs, and what callers may do there.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """


@route.command("set")
@click.argument("name")
@_settings
@click.option("--replace", is_flag=True, help="Put it in the place of the one that is there.")
def route_set(name: str, replace: bool, plugins: list[str], **settings: Any) -> None:
    """Keep a route. One that exists is replaced only with --replace.

    \b
    Example:
      oo route set openai --upstream https://api.openai.com \\
        --inject 'Authorization: Bearer {openai-key}' --allow 'POST /v1/*'
    """
    from ..gateway.models import Route
    from ..gateway.services import put_route

    if not settings["upstream"]:
        raise click.UsageError("a route needs --upstream, the API's base URL")
    made, kinds = Route(name, **_given(settings)), kinds_of(plugins)
    with_vault(lambda vault: put_route(vault, made, override=replace, kinds=kinds))
    click.echo(f"route {name}")


@route.command("update")
@click.argument("name")
@_settings
@click.option(
    "--drop", multiple=True, metavar="NAME", help="A header, parameter or kind to inject no longer; ca; cert."
)
@click.option("--allow-all", is_flag=True, help="Let callers do anything, as without --allow.")
def route_update(name: str, drop: tuple[str, ...], allow_all: bool, plugins: list[str], **settings: Any) -> None:
    """Change the named settings of a route, and say what changed.

    --inject and --query add to what is there, or replace what has the same name. --allow and --credential replace the
    whole list.

    Example: oo route update openai --timeout 120
    """
    from ..gateway.services import update_route

    changes, kinds = _given(settings), kinds_of(plugins)
    if allow_all:
        changes["allow"] = ()
    if not changes and not drop:
        raise click.UsageError("name what is to change, such as --timeout 120")
    say_changes(f"route {name}", with_vault(lambda vault: update_route(vault, name, changes, drop, kinds=kinds)))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Route that the options name."""
    from ..gateway.plugin_settings import parse_settings
    from ..gateway.rules import injected, parse_upstreams

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    for option, name in (
        *(("pass_header", "pass_headers"), ("drop_header", "drop_headers"), ("cors", "cors")),
        ("credential", "credentials"),
    ):
        if option in given:
            given[name] = tuple(filter(None, given.pop(option)))
    if "upstream" in given:
        given.update(parse_upstreams(given["upstream"]))
    if texts := given.pop("with", ()):
        given["settings"] = parse_settings(texts)
    if "inject" in given:
        given["inject"] = injected(
            _named(text, ":", "an --inject without ':' is no 'Header: text'") for text in given["inject"]
        )
    if "query" in given:
        given["query"] = injected(
            _named(text, "=", "a --query without '=' is no 'name=text'") for text in given["query"]
        )
    return given


def _named(text: str, mark: str, refusal: str) -> tuple[str, str]:
    name, found, value = (part.strip() for part in text.partition(mark))
    if not found:
        # It may be a key, and so is not repeated.
        raise click.ClickException(refusal)
    if text.endswith(" ") or (mark == ":" and not value):  # as a shell's variable that is not set leaves it
        raise click.ClickException(f"what is to be injected as {name} ends in nothing: a secret is named as {{name}}")
    return name, value


@route.command("list")
@as_json
def route_list(as_json: bool) -> None:
    """List the routes. What they inject is shown by name only.

    Example: oo route list
    """

    async def read(vault: Keeper) -> list[dict[str, Any]]:
        routes = [await vault.route(name) for name in await vault.names("route")]
        return [_row(route) for route in routes if route is not None]

    columns = ("name", "upstream", "inject", "secrets", "allow", "timeout", "private")
    more = (
        "plain_http",
        "weak",
        "passed",
        "dropped",
        "upstreams",
        "retries",
        "cors",
        "websocket",
        "with",
        "credentials",
        "tls",
    )
    shown = ("name", "upstream", "inject", "credentials", "allow", "secrets", "private", "timeout")
    table(with_vault(read), columns + more, as_json, shown)


@route.command("show")
@click.argument("name")
@as_json
def route_show(name: str, as_json: bool) -> None:
    """Show a route and the ids of its tokens. What it injects is shown by name only.

    Example: oo route show openai
    """
    from ..gateway.services import require

    async def read(vault: Keeper) -> dict[str, Any]:
        await require(vault, "route", name)
        kept = await vault.route(name)
        opened_by = [token.id for token in await vault.tokens() if (token.kind, token.name) == ("route", name)]
        return {**({} if kept is None else _row(kept)), "tokens": opened_by}

    show(with_vault(read), as_json)


def _row(route: Route) -> dict[str, Any]:
    """What may be shown of a route."""
    from ..gateway.plugin_settings import listed_settings
    from ..gateway.route_credentials import shown

    return {
        "name": route.name,
        "upstream": ", ".join(map(str, route.upstreams)),
        "upstreams": list(map(str, route.upstreams)),
        "inject": list(route.inject),
        "credentials": shown(route),
        "secrets": sorted(route.secrets),
        "tls": [what for what in ("ca", "cert", "key") if getattr(route, what)],
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


add_rm(route, "route")
