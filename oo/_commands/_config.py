"""A command whose options may stand in a TOML file and in the environment as well, and that can be read again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

T = TypeVar("T")
_ARGUMENTS = "oo.arguments"


class Configured(click.Command):
    """A command with an option `--config FILE`. What is given as an argument goes before the environment (`OO_` and
    the option's name), and that before the file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note the arguments, for `again`. What is refused is named as where it stands: a variable, the file."""
        ctx.meta[_ARGUMENTS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            error.param_hint = _place(ctx, error.param) or error.param_hint
            raise


class FromEnvironment(click.Option):
    """An option whose variable is passed over where it is what Kubernetes says of a service: `OO_PORT=tcp://...`."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable's value, if it is the option's."""
        value = super().resolve_envvar_value(ctx)
        return None if value is not None and value.startswith("tcp://") else value


def again(context: click.Context, read: Callable[..., T]) -> Callable[[], T]:
    """What reads the file and the arguments of a running command again, and gives them to `read`. It raises a
    StoreError where they are wrong by now."""
    from ..gateway.errors import StoreError

    arguments, name = list(context.meta[_ARGUMENTS]), context.info_name

    def reread() -> T:
        try:
            with context.command.make_context(name, list(arguments), parent=context.parent) as made:
                return read(**made.params)
        except click.ClickException as error:
            raise StoreError(error.format_message()) from None

    return reread


def load(context: click.Context, _option: click.Parameter, path: str | None) -> str | None:
    """Take the defaults of a command's options from a file."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            known = _parse(file.read())
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(f"{path} is no TOML: {error}") from None
    options = {option.name: option for option in context.command.params if isinstance(option, click.Option)}
    found: dict[str, Any] = {}
    for key, value in known.items():
        name = key.replace("-", "_")
        if name not in options or name in ("config", "check", "help"):
            raise click.ClickException(
                f"{path}: there is no setting {key!r}; the settings are the options of `oo serve`"
            )
        found[name] = _value(options[name], value, f"{path}: {key}")
    context.default_map = {**(context.default_map or {}), **found}
    return path


def _place(context: click.Context, option: click.Parameter | None) -> str | None:
    """Where the value of an option stands, if it is no argument."""
    name = "" if option is None else option.name or ""
    source = context.get_parameter_source(name)
    if source is click.core.ParameterSource.ENVIRONMENT:
        return f"{context.auto_envvar_prefix}_{name.upper()}"
    return f"{name} in {context.params['config']}" if source is click.core.ParameterSource.DEFAULT_MAP else None


def _parse(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _value(option: click.Option, value: Any, where: str) -> Any:
    """A value of TOML as click takes a default."""
    if option.multiple:
        values = value if isinstance(value, list) else [value]
        if all(isinstance(each, str) for each in values):
            return values
        raise click.ClickException(f"{where} is no list of texts")
    if isinstance(option.type, click.types.StringParamType) and not isinstance(value, str):
        raise click.ClickException(f"{where} is no text")
    if isinstance(value, bool) is not option.is_flag or isinstance(value, (dict, list)):
        raise click.ClickException(f"{where} is not {'true or false' if option.is_flag else 'one value'}")
    return value


config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    is_eager=True,
    callback=load,
    help="A TOML file with these options: grace = 30.",
)
"""The option that names the file."""
