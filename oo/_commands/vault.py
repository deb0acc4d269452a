"""The commands that keep a vault: init, secret, env, route, token, rekey, audit."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import as_json, errors, fail, table

if TYPE_CHECKING:
    from ..server.store import Kind, Rate, Variable
    from ..server.vault import Vault

T = TypeVar("T")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
def init() -> None:
    """Make a vault, and its master key beside it unless OO_MASTER_KEY or OO_MASTER_KEY_FILE gives one.

    Example: oo init
    """
    with store_errors():
        import os

        from ..server import keyring
        from ..server.home import home
        from ..server.vault import Vault

        place = home()
        path = keyring.key_path(place)
        made = not os.environ.get("OO_MASTER_KEY") and not path.exists()
        if made and (place / "vault.db").exists():
            fail(f"there is a vault in {place} already, and its master key {path} is missing")
        if made:
            keyring.write_keys(path, [keyring.new_key()])
        Vault.create(place, keyring.load(place))
        click.echo(f"vault {place / 'vault.db'}")
        if made:
            click.echo(f"master key {path}: keep a copy elsewhere, without it the vault is lost")


@click.group()
def secret() -> None:
    """Keep secrets, each in versions."""


@secret.command("set")
@click.argument("name")
@click.option("--from-file", "source", type=click.File("rb"), help="Read the value from a file; - for standard input.")
def secret_set(name: str, source: Any) -> None:
    """Keep a new version of a secret; asks for the value without showing it. One line's end after it is dropped.

    Example: oo secret set openai-key --from-file -
    """
    if source is None:
        value: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            value = source.read().decode("utf-8")
        except UnicodeDecodeError:
            fail("the value is not UTF-8 text")
        value = re.sub(r"\r?\n\Z", "", value)
    if not value:
        fail("the value is empty")
    version = with_vault(lambda vault: vault.put_secret(name, value))
    click.echo(f"secret {name} version {version}")


@secret.command("list")
@as_json
def secret_list(as_json: bool) -> None:
    """List the secrets, without their values.

    Example: oo secret list --json
    """

    async def read(vault: Vault) -> list[dict[str, object]]:
        rows = []
        for name in await vault.names("secret"):
            current = next(each for each in await vault.versions(name) if each.current)
            rows.append({"name": name, "version": current.version, "set": _time(current.created)})
        return rows

    table(with_vault(read), ("name", "version", "set"), as_json)


@secret.command("versions")
@click.argument("name")
@as_json
def secret_versions(name: str, as_json: bool) -> None:
    """List the versions of a secret.

    Example: oo secret versions openai-key
    """
    found = with_vault(lambda vault: vault.versions(name))
    rows = [
        {"version": each.version, "set": _time(each.created), "current": "current" if each.current else ""}
        for each in found
    ]
    table(rows, ("version", "set", "current"), as_json)


@secret.command("rollback")
@click.argument("name")
@click.option("--to", "version", type=int, help="The version to return to; the one before the current, unless told.")
def secret_rollback(name: str, version: int | None) -> None:
    """Return to an earlier version of a secret.

    Example: oo secret rollback openai-key
    """
    now = with_vault(lambda vault: vault.rollback(name, version))
    click.echo(f"secret {name} version {now}")


@click.group()
def env() -> None:
    """Keep environments: sets of variables that one token opens."""


@env.command("set")
@click.argument("name", metavar="ENV")
@click.argument("variables", nargs=-1, metavar="KEY=@SECRET KEY=literal ...")
@click.option("--from-file", "source", type=click.Path(exists=True, dir_okay=False), help="A .env file of literals.")
def env_set(name: str, variables: tuple[str, ...], source: str | None) -> None:
    """Keep an environment, in the place of an earlier one. KEY=@SECRET takes a secret's value as it will be; KEY=@@x
    stands for the literal @x.

    Example: oo env set web API_KEY=@openai-key MODE=production
    """
    with store_errors():
        from .._dotenv import check
        from ..server.store import SecretRef

        values: dict[str, Variable] = {}
        if source is not None:
            from dotenv import dotenv_values

            values.update({key: value or "" for key, value in dotenv_values(source, interpolate=False).items()})
        for variable in variables:
            key, equals, value = variable.partition("=")
            if not equals:
                fail(f"{key!r} is no KEY=VALUE")
            literal = value[1:] if value.startswith("@@") else value
            values[key] = SecretRef(value[1:]) if value.startswith("@") and literal is value else literal
        # Whoever keeps the vault may name what they like; a name that is none would be refused by every client.
        check(dict.fromkeys(values, ""), allow=values)
    with_vault(lambda vault: vault.put_environment(name, values))
    click.echo(f"env {name}: {len(values)} variables")


@env.command("list")
@as_json
def env_list(as_json: bool) -> None:
    """List the environments.

    Example: oo env list
    """

    async def read(vault: Vault) -> list[dict[str, object]]:
        names = await vault.names("env")
        return [{"name": name, "variables": len(await vault.variables(name) or {})} for name in names]

    table(with_vault(read), ("name", "variables"), as_json)


@env.command("show")
@click.argument("name", metavar="ENV")
@as_json
def env_show(name: str, as_json: bool) -> None:
    """Show an environment's variables, their values masked.

    Example: oo env show web
    """
    from ..server.store import SecretRef

    found = with_vault(lambda vault: vault.variables(name))
    if found is None:
        fail(f"there is no env {name!r}")
    rows = [
        {"name": key, "value": f"@{value.name}" if isinstance(value, SecretRef) else "***"}
        for key, value in found.items()
    ]
    table(rows, ("name", "value"), as_json)


@click.group()
def route() -> None:
    """Keep routes: upstream APIs, and what callers may do with them."""


@route.command("set")
@click.argument("name")
@click.option("--upstream", required=True, metavar="URL", help="The API's base URL.")
@click.option("--inject", multiple=True, metavar="'HEADER: TEXT'", help="A header to send; {name} is a secret's value.")
@click.option(
    "--allow", multiple=True, metavar="'METHOD PATH'", help="What callers may do; * is anything. All, if none."
)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds for one call.")
@click.option("--allow-private", is_flag=True, help="Let the upstream be at a private or loopback address.")
def route_set(
    name: str, upstream: str, inject: tuple[str, ...], allow: tuple[str, ...], timeout: float, allow_private: bool
) -> None:
    """Keep a route, in the place of an earlier one.

    Example: oo route set openai --upstream https://api.openai.com --inject 'Authorization: Bearer {openai-key}'
    --allow 'POST /v1/*'
    """
    with store_errors():
        from ..server.store import Route

        headers = {}
        for text in inject:
            header, colon, value = text.partition(":")
            if not colon:
                fail(f"{header!r} is no 'Header: text'")
            headers[header.strip()] = value.strip()
        made = Route(name, upstream, headers, allow, timeout, allow_private)
    with_vault(lambda vault: vault.put_route(made))
    click.echo(f"route {name}")


@route.command("list")
@as_json
def route_list(as_json: bool) -> None:
    """List the routes. Injected headers are shown by name.

    Example: oo route list
    """

    async def read(vault: Vault) -> list[dict[str, object]]:
        found = [await vault.route(name) for name in await vault.names("route")]
        return [
            {
                "name": each.name,
                "upstream": each.upstream,
                "inject": ", ".join(each.inject),
                "allow": ", ".join(each.allow) or "everything",
                "timeout": each.timeout,
                "private": each.allow_private,
            }
            for each in found
            if each is not None
        ]

    table(with_vault(read), ("name", "upstream", "inject", "allow", "timeout", "private"), as_json)


def _remove(group: click.Group, kind: Kind) -> None:
    @group.command("rm", help=f"Forget {kind} NAME; its tokens open nothing any more.\n\nExample: oo {kind} rm old")
    @click.argument("name")
    def remove(name: str) -> None:
        with_vault(lambda vault: vault.remove(kind, name))
        click.echo(f"{kind} {name} is gone")


_remove(secret, "secret")
_remove(env, "env")
_remove(route, "route")


@click.group()
def token() -> None:
    """Issue and revoke tokens. Each opens one secret, one environment or one route."""


@token.command("issue")
@click.option("--secret", "secret_name", metavar="NAME", help="Open this secret.")
@click.option("--env", "env_name", metavar="NAME", help="Open this environment.")
@click.option("--route", "route_name", metavar="NAME", help="Open this route.")
@click.option("--ttl", metavar="24h", help="How long it opens: a number with s, m, h or d.")
@click.option("--uses", type=click.IntRange(min=1), help="How often it opens.")
@click.option("--rate", metavar="60/m", help="How often it opens in a time: a number by s, m, h or d.")
@click.option("--label", default="", help="A note for `oo token list`.")
def token_issue(
    secret_name: str | None,
    env_name: str | None,
    route_name: str | None,
    ttl: str | None,
    uses: int | None,
    rate: str | None,
    label: str,
) -> None:
    """Issue a token, printed here and never again.

    Example: oo token issue --secret openai-key --ttl 24h --uses 10
    """
    options: tuple[tuple[Kind, str | None], ...] = (("secret", secret_name), ("env", env_name), ("route", route_name))
    given = [(kind, name) for kind, name in options if name is not None]
    if len(given) != 1:
        raise click.UsageError("name one thing to open: --secret, --env or --route")
    kind, name = given[0]
    seconds, limit = None if ttl is None else _duration(ttl), None if rate is None else _rate(rate)
    made = with_vault(lambda vault: vault.issue(kind, name, ttl=seconds, uses=uses, rate=limit, label=label))
    click.echo(made)


@token.command("list")
@as_json
def token_list(as_json: bool) -> None:
    """List the tokens by id; the tokens themselves are nowhere.

    Example: oo token list
    """
    import time

    now = time.time()
    rows = []
    for each in with_vault(lambda vault: vault.tokens()):
        ended = each.expires is not None and each.expires <= now
        spent = each.uses is not None and each.used >= each.uses
        state = "revoked" if each.revoked else "expired" if ended else "used up" if spent else "open"
        rows.append(
            {
                "id": each.id,
                "opens": f"{each.kind} {each.name}",
                "state": state,
                "issued": _time(each.issued),
                "expires": None if each.expires is None else _time(each.expires),
                "uses": None if each.uses is None else f"{each.used}/{each.uses}",
                "rate": None if each.rate is None else f"{each.rate.count} in {each.rate.seconds:g} s",
                "label": each.label,
            }
        )
    table(rows, ("id", "opens", "state", "issued", "expires", "uses", "rate", "label"), as_json)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
def token_revoke(token_id: str) -> None:
    """Let a token open nothing, at once.

    Example: oo token revoke 3f2a9c01d4e5
    """
    with_vault(lambda vault: vault.revoke(token_id))
    click.echo(f"token {token_id} is revoked")


@click.command()
def rekey() -> None:
    """Seal the vault with a new master key. Servers go on meanwhile; a killed run is taken up by the next.

    Where OO_MASTER_KEY gives the key, set it to "OLD,NEW" first, and to NEW when this is done.

    Example: oo rekey
    """
    with store_errors():
        import os

        from ..server import keyring
        from ..server.home import home

        place = home()
        path = keyring.key_path(place)
        keys = keyring.read_keys(place)
        in_file = not os.environ.get("OO_MASTER_KEY")
        if len(keys) < 2:
            if not in_file:
                fail('OO_MASTER_KEY holds one key: set it to "OLD,NEW" first')
            # Opened once before anything is written: a key that is not the vault's must not get company.
            with_vault(lambda vault: vault.names("secret"))
            keys.append(keyring.new_key())
            keyring.write_keys(path, keys)
        count = with_vault(lambda vault: vault.rekey(keyring.Keyring(keys)))
        if in_file:
            keyring.write_keys(path, keys[-1:])
        click.echo(f"{count} records are sealed with the new key")


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come, until interrupted.")
def audit(follow: bool) -> None:
    """Print the audit: a JSON line for each decision.

    Example: oo audit --follow
    """
    with store_errors():
        from ..server.audit import read
        from ..server.home import home

        try:
            for line in read(home(), follow):
                click.echo(line)
        except KeyboardInterrupt:
            sys.exit(130)


class store_errors:  # noqa: N801  # used as a with statement's word
    """As `errors`, for what a store refuses too."""

    def __enter__(self) -> None:
        self._errors = errors()
        self._errors.__enter__()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool | None:
        if error is not None and type(error).__name__ in ("StoreError", "Tampered"):
            fail(str(error))
        return self._errors.__exit__(kind, error, traceback)


def with_vault(work: Callable[[Vault], Coroutine[Any, Any, T]]) -> T:
    """What some work on the open vault gives."""

    async def run() -> T:
        from ..server.home import home
        from ..server.vault import Vault

        async with Vault(home()) as vault:
            return await work(vault)

    with store_errors():
        return asyncio.run(run())


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{text!r} is no time such as 90s, 15m, 24h or 7d", param_hint="--ttl")
    return float(int(match[1]) * _UNITS[match[2]])


def _rate(text: str) -> Rate:
    from ..server.store import Rate

    match = re.fullmatch(r"(\d{1,9})/([smhd])", text.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{text!r} is no rate such as 5/s, 60/m or 1000/d", param_hint="--rate")
    return Rate(int(match[1]), float(_UNITS[match[2]]))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


COMMANDS = (init, secret, env, route, token, rekey, audit)
