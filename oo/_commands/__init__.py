"""The commands of `oo`, a file for each. A command is imported when it runs, with what it needs, so that `oo --help` is
quick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from .._version import __version__
from ._errors import Program

COMMANDS = {
    "init": ("vault", "Make a vault."),
    "secret": ("secret", "Keep secrets, each in versions."),
    "env": ("env", "Keep environments: sets of variables that one token opens."),
    "route": ("route", "Keep routes: upstream APIs, and what callers may do there."),
    "token": ("token", "Issue and revoke tokens."),
    "serve": ("serve", "Answer callers from the vault, until interrupted."),
    "audit": ("audit", "Print the audit, two lines of JSON for each call."),
    "bundle": ("bundle", "Keep bundles: sets of routes that one token opens."),
    "ca": ("ca", "Keep the authority that proxied programs trust."),
    "top": ("top", "Show what runs now, by route and by token."),
    "rekey": ("vault", "Give the vault a new master key."),
    "store": ("store", "Look at the store, copy it into a file, or fill it from one."),
    "migrate": ("store", "Move the store to another place."),
    "get": ("calls", "Print the secret that the token opens."),
    "export": ("calls", "Write the environment that the token opens to a file."),
    "run": ("run", "Run a command with the environment that the token opens."),
    "proxy-env": ("proxy_env", "Print what `oo run --proxied` sets for a program."),
    "proxy": ("proxy", "Call the API behind the token's route, and print its answer."),
    "chat": ("chat", "Send a message to a model, and print its answer."),
    "health": ("calls", "Say whether the gateway is up."),
    "explain": ("explain", "Say what the gateway would do with a call, step by step."),
    "plugins": ("plugins", "List the plugins found, and the chain with them."),
    "demo": ("demo", "Show real calls through the chain, in both worlds."),
}
"""Each command's file, and what its own help begins with."""

_WITH_STORE = frozenset("init audit rekey secret env route token bundle ca serve explain store migrate".split())


class _Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module, _ = COMMANDS[name]
            command: click.Command = getattr(import_module(f".{module}", __name__), name.replace("-", "_"))
            if name in _WITH_STORE:
                from ._vault import add_store_option

                add_store_option(command)
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Oo(Program):
    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_Oo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="oo")
def oo() -> None:
    """Double-O: one token in, one secret or one API call out.

    \b
    Example:
      oo init                               make a vault
      oo secret set openai-key              keep a secret in it
      oo token issue --secret openai-key    make a token that opens it
      oo serve                              answer callers
      OO_TOKEN=... oo get                   fetch the secret
    """


oo.commands = _Commands()  # type: ignore[assignment]  # nothing is added to it
