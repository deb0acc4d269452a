"""`oo run`: a command with an environment of its own, that ends as if nothing stood between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

import click

from ._caller import caller, client_at, token_from

_HANDED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH", "SIGCONT")
_FROM_KEYS = ("SIGINT", "SIGQUIT")


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, metavar="-- CMD ...")
@click.option("--allow", multiple=True, metavar="NAME", help="Take this variable though it steers how programs load.")
@caller
def run(command: tuple[str, ...], allow: tuple[str, ...], token_file: str | None, base_url: str | None) -> None:
    """Run a command with the environment that the token opens.

    The environment is the command's alone, and OO_TOKEN is not in it. The command is not started where the environment
    cannot be had. Its exit code is this one's, 128 + n where signal n ended it.

    Example: OO_TOKEN=... oo run -- python app.py
    """
    from .._client.dotenv import check

    token = token_from(token_file)
    with client_at(base_url) as client:
        variables = client.get_env(token)
    check(variables, allow)
    inherited = {name: value for name, value in os.environ.items() if name != "OO_TOKEN"}
    sys.exit(_run(command, {**inherited, **variables}))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        # The terminal sends its keys' signals to the child as well, and twice would mean something else.
        elif signal.Signals(number).name not in _FROM_KEYS or not _in_foreground():
            child.send_signal(number)

    # Before the child is there: a signal that comes while it starts must not leave it behind.
    for name in _HANDED_ON:
        number = getattr(signal, name, None)
        # What is ignored stays so, for the child too: nohup asks for that.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, hand_on)
    woken = _woken()
    try:
        # What the caller opened for the command is the command's; nothing that Python opens is handed down.
        child = subprocess.Popen(command, env=environment, close_fds=False)  # noqa: S603  # the user's own command
    except OSError as error:
        click.echo(f"oo: {command[0]}: {error.strerror}", err=True)
        return 127 if isinstance(error, FileNotFoundError) else 126
    for number in early:
        hand_on(number, None)
    code = _ended(child, woken)
    return code if code >= 0 else 128 - code


def _woken() -> int:
    """The end of a pipe into which every signal writes."""
    # A signal that comes just before a wait begins does not end it, and would be handed on when there is nobody left.
    # What it writes into a pipe is still there when that is read.
    reading, writing = os.pipe()
    if sys.platform != "win32":
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        # Ignored, as it may come down to us, it loses the exit code.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reading


def _ended(child: subprocess.Popen[bytes], woken: int) -> int:
    if sys.platform == "win32":
        return child.wait()
    # Not before the child is there, which inherits the mask that came down to us.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    while (code := child.poll()) is None:
        os.read(woken, 1024)
    return code


def _in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
