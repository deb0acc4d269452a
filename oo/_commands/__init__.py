"""The commands of `oo`, a file for each. A command imports what it needs when it runs, so that `oo --help` is quick."""

from __future__ import annotations

import click

from .._version import __version__
from . import (
    audit,
    bundle,
    ca,
    calls,
    chat,
    demo,
    env,
    explain,
    plugins,
    proxy,
    proxy_env,
    route,
    run,
    secret,
    serve,
    store,
    token,
    top,
    vault,
)
from ._errors import Program
from ._vault import add_store_option


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
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


for command in (
    vault.init,
    secret.secret,
    env.env,
    route.route,
    token.token,
    serve.serve,
    audit.audit,
    bundle.bundle,
    ca.ca,
    top.top,
    vault.rekey,
    store.store,
    store.migrate,
    *(calls.get, calls.export, run.run, proxy_env.proxy_env, proxy.proxy, chat.chat, calls.health),
    explain.explain,
    plugins.plugins,
    demo.demo,
):
    oo.add_command(command)

for command in (
    *(vault.init, audit.audit, vault.rekey, secret.secret, env.env, route.route, token.token),
    *(bundle.bundle, ca.ca),
    *(serve.serve, explain.explain, store.store, store.migrate),
):
    add_store_option(command)
