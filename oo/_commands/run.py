"""`oo run`: replaces this process by a command that has the environment of a token."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import click

from .._http.request import TOKEN
from ._caller import allow_option, caller, client_at, only_option, token_from
from ._errors import NO_ARGUMENT, fail
from ._proxied import placeholder_option, proxied_command
from ._values import FilePath

# The variables of this program that hold no secret and are passed on. Any other OO_ variable is held back.
_HANDED_ON = frozenset(("OO_BASE_URL", "OO_HOME", "OO_MASTER_KEY_FILE", "OO_PLUGINS"))
_SHELL = "/bin/sh"


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, metavar="-- CMD ...")
@only_option
@allow_option
@click.option("--proxied", is_flag=True, help="Have the command call by the gateway: for programs without a base URL.")
@placeholder_option
@click.option(
    "--env-token-file",
    type=FilePath(exists=True, dir_okay=False),
    metavar="FILE",
    help="With --proxied: the token of an environment that the command has as well.",
)
@caller
def run(
    command: tuple[str, ...],
    only: tuple[str, ...],
    allow: tuple[str, ...],
    proxied: bool,
    placeholder: tuple[str, ...],
    env_token_file: str | None,
    token_file: str | None,
    base_url: str | None,
) -> None:
    """Run a command with the environment that the token opens.

    The command takes this process's place: signals, the terminal and the exit code are its own. OO_TOKEN and
    OO_MASTER_KEY are not in its environment. If the environment cannot be fetched, the command is not started. The
    exit code is 127 if there is no such command, and 126 if it cannot be run.

    With --proxied the token is the proxy's, and the gateway puts the real credentials in: the command has none, and
    calls what the token's routes name by their own URLs. Its files are gone when it ends.

    \b
    Example: OO_TOKEN=... oo run -- python app.py
             OO_TOKEN=... oo run --proxied --placeholder OPENAI_API_KEY -- claude
    """
    if not proxied and (placeholder or env_token_file):
        raise click.UsageError("--placeholder and --env-token-file go with --proxied")
    if proxied and (only or allow) and env_token_file is None:
        raise click.UsageError("--only and --allow choose variables: name their token with --env-token-file")
    token = token_from(token_file)
    inherited = _inherited()
    if not proxied:
        _start(command, {**inherited, **_fetched(base_url, token, only, allow)})
    if env_token_file is not None:
        inherited |= _fetched(base_url, token_from(env_token_file), only, allow)
    with proxied_command(command, base_url, token, inherited, placeholder) as (parent, proxied_environment):
        _start(parent, proxied_environment)


def _start(command: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Run the command, in the place of this process where that can be."""
    try:
        if os.name == "posix":
            _become(command, environment)
        sys.exit(_wait_for(command, environment))
    except OSError as error:
        said = f"{command[0]}: {error.strerror}{NO_ARGUMENT if TOKEN.match(command[0]) else ''}"
        # As env(1) and the shells have it (POSIX, XCU 2.8.2).
        fail(said, 127 if error.errno == errno.ENOENT else 126)
    except ValueError:
        fail("no command can be called that, or take such an argument", 126)


def _inherited() -> dict[str, str]:
    """What the command has of this environment."""
    # With OO_KMS, the token of OpenBao is the vault's.
    held = {"BAO_TOKEN"} if "OO_KMS" in os.environ else set()
    return {
        name: value
        for name, value in os.environ.items()
        if name in _HANDED_ON or not (name.upper().startswith("OO_") or name in held)
    }


def _fetched(base_url: str | None, token: str, only: tuple[str, ...], allow: tuple[str, ...]) -> dict[str, str]:
    """The variables that a token opens."""
    from .._client.dotenv import check, select

    with client_at(base_url) as client:
        variables = select(client.get_env(token), only or None)
    check(variables, allow)
    return dict(variables)


def _become(command: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the command, found and run as execvp(3) does. OSError if it cannot be run."""
    # Python ignores these signals, and the command would inherit that.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_DFL)
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in _places(command[0], environment):
        try:
            _execute(path, command, environment)
        except OSError as error:  # noqa: PERF203  # few turns
            # A file that is there but cannot be run is the error to report, unless a later folder has one that can.
            if error.errno in (errno.EACCES, errno.EPERM):
                failure = error
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR) or "/" in command[0]:
                raise
    raise failure


def _execute(path: str, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    try:
        os.execve(path, command, environment)  # noqa: S606  # the user's own command
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # It is neither a program nor begins with `#!`: it is a script for the shell (POSIX, XSH exec).
    os.execve(_SHELL, [_SHELL, path, *command[1:]], environment)  # noqa: S606  # as above


def _places(name: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The paths at which a command may be: its own if it has a slash, else one in each folder of PATH."""
    if "/" in name:
        yield name
    elif name:
        for folder in environment.get("PATH", os.defpath).split(os.pathsep):
            yield os.path.join(folder or ".", name)


def _wait_for(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command and return its exit code, for Windows, where a process cannot become another program."""
    with subprocess.Popen(command, env=environment, close_fds=False) as child:  # noqa: S603  # the user's own command
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # noqa: PERF203  # the console sends it to the command as well
                continue
