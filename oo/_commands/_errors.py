"""The group of all commands. It turns every error into one line on standard error and an exit code."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, NoReturn

import click

from ..exceptions import DoubleOError
from ._output import printable

_EXTRAS = {
    "asyncpg": "postgres",
    "aiohttp": "server",
    "cryptography": "server",
    "platformdirs": "server",
    "dotenv": "cli",
    "rich": "cli",
    "tomli": "cli",
    "prometheus_client": "metrics",
    "opentelemetry": "otel",
}
_NO_COMMAND = re.compile(r"No such command '(.*?)'")
_RM = ("delete", "remove", "del")  # what others call it
_EXTRA = re.compile(r"(unexpected extra arguments?) \(.*\)", re.DOTALL)

_ARGUMENTS = {
    "explain": "; quote the call: oo explain 'GET /v1/models'",
    "secret set": "; a value is never an argument: the command asks for it, or takes --from-file - from a pipe",
}
NO_ARGUMENT = "; a token is never an argument: set OO_TOKEN, give --token-file, or pipe it in"


class Program(click.Group):
    """A group that reports every error as one line. The exit code is 1, or 2 if the command was used wrongly."""

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        """Run the program and exit."""
        try:
            code = super().main(*args, **{**settings, "standalone_mode": False})
            # Output that is still buffered may not fit either: then the exit of the process would print a second error.
            if sys.stdout is not None:
                sys.stdout.flush()
            sys.exit(code)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = "oo" if error.ctx is None else error.ctx.command_path
            # The argument may be a secret, which must not appear in a log.
            usage = _EXTRA.sub(r"\1", error.format_message().rstrip("."))
            fail(f"{usage}{_near(error, usage)}{_instead(error)} (see {command} --help)", error.exit_code)
        except click.ClickException as error:
            fail(error.format_message())
        except click.Abort:
            sys.exit(130)  # 128 and SIGINT
        except BrokenPipeError:
            _give_up_output()
            sys.exit(141)  # 128 and SIGPIPE, as a shell reports it
        except Exception as error:
            said = _explained(error)
            if said is None:
                raise
            _give_up_output()
            fail(said)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands, in the order in which a new user needs them."""
        return list(self.commands)


def _explained(error: Exception) -> str | None:
    """The line that reports an error to the user; None if it is a bug."""
    from ..gateway.errors import StoreError

    if isinstance(error, (DoubleOError, StoreError)):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(name)
        return f'this needs {name}: pip install "double-o[{extra}]"' if extra else None
    if isinstance(error, ImportError) and error.name is None:  # of a library that cannot be used, in our words
        return str(error)
    if isinstance(error, UnicodeError):
        return "what was given is not UTF-8 text"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return None


def _near(error: click.UsageError, usage: str) -> str:
    """The commands that a mistyped one may have meant. From click 8.5 on, click says this itself."""
    from ..gateway.rules import nearest

    mistyped = _NO_COMMAND.search(usage)
    if mistyped is None or error.ctx is None or not isinstance(error.ctx.command, click.Group) or "mean" in usage:
        return ""
    commands = error.ctx.command.commands
    if mistyped[1] in _RM and "rm" in commands:
        return "; did you mean 'rm'?"
    return nearest(mistyped[1], commands)


def _instead(error: click.UsageError) -> str:
    """What to do after one argument too many: it may be a value that the command takes in another way."""
    if error.ctx is None or not _EXTRA.search(error.message):
        return ""
    if hint := _ARGUMENTS.get(error.ctx.command_path.partition(" ")[2]):
        return hint
    return NO_ARGUMENT if any(parameter.name == "token_file" for parameter in error.ctx.command.params) else ""


def _give_up_output() -> None:
    """Stop writing to a standard output that accepts nothing more."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        # Otherwise the exit of the process tries to write once more, and prints an error.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)


def fail(message: str, code: int = 1) -> NoReturn:
    """Report a failure on standard error, and exit."""
    from .._http.request import without_tokens

    # A token that was given as an argument is not repeated.
    click.echo(f"oo: {printable(' '.join(without_tokens(message).split()))}", err=True)
    sys.exit(code)
