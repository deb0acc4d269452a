"""What load_env and export_env may write, and how.

A server's names are refused where they change how programs load or where their requests go. A file is written so
that sh, bash and python-dotenv all read back exactly what the server sent, or it is not written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping

from .._core.files import lock_dir, replace_file
from ..exceptions import EnvError
from .steering import steers

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
"""What a variable may be called."""

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")

# What a shell that reads the file would set itself, refuse, or compute: bash runs the commands in OPTIND='a[$(...)]'.
_SHELLS_OWN = frozenset(
    "_ UID EUID PPID GROUPS SHLVL SHELLOPTS BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS "
    "BASH_LINENO BASH_MONOSECONDS BASH_SOURCE BASH_SUBSHELL BASH_TRAPSIG BASH_VERSINFO COMP_WORDBREAKS DIRSTACK "
    "EPOCHREALTIME EPOCHSECONDS FUNCNAME HISTCMD LINENO OPTIND PIPESTATUS RANDOM SECONDS SRANDOM".split()
)


def check(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """EnvError unless every name is a name, harmless or in `allow`, and every value can be a variable's."""
    if isinstance(allow, str):
        raise TypeError("allow must be a collection of names, not one string")
    for name, value in variables.items():
        if not NAME.fullmatch(name):
            raise _refused("a name in the environment is no variable name (letters, digits and _)")
        if name not in allow and steers(name):
            raise _refused(f"{name} changes how programs load or where requests go; name it in allow= if you mean it")
        if "\0" in value:
            raise _refused(f"the value of {name} holds a NUL character")


def load(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """Put the variables into os.environ: all of them, or none and EnvError."""
    check(variables, allow)
    before = {name: os.environ.get(name) for name in variables}
    try:
        os.environ.update(variables)
        return
    except (OSError, ValueError):
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
    # Out here: the codec's errors quote the value.
    raise _refused("this system cannot hold one of the values")


def export(
    variables: Mapping[str, str], path: str | os.PathLike[str], overwrite: bool = True, allow: Collection[str] = ()
) -> None:
    """Write the variables to a file of mode 0600, in one step; EnvError, and the old file as it was, where that
    cannot be. Without `overwrite` they follow what the file holds already."""
    check(variables, allow)
    text = "".join(f"{name}={quoted(name, value)}\n" for name, value in variables.items())
    try:
        target = os.path.realpath(path)  # a link stays a link
        with lock_dir(os.path.dirname(target)):
            if os.path.lexists(target) and not os.path.isfile(target):
                raise OSError("it is no regular file")  # a rename would put one in the place of a device or a pipe
            before = b"" if overwrite else _content(target)
            if before and not before.endswith(b"\n"):
                before += b"\n"
            replace_file(target, before + text.encode("utf-8"))
        return
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
    except ValueError:
        why = "no file can be called that or hold that"
    raise _refused(f"the file {os.fspath(path)!r} could not be written: {why}")


def quoted(name: str, value: str) -> str:
    """A value as sh, bash and python-dotenv all read it; EnvError where they would not agree.

    Between single quotes sh takes everything as it is, but python-dotenv undoes `\\\\` and `\\'`. Between double
    quotes they agree on `\\\\` and `\\"`, but sh expands `$` and a backtick. python-dotenv expands `${...}` anywhere
    and reads CR as a line's end; up to 1.2.2 it takes a `\\` before the closing quote for an escape of that quote
    wherever a later line holds another one.
    """
    if name in _SHELLS_OWN:
        raise _refused(f"a shell that reads the file sets {name} itself")
    if _BARE.fullmatch(value):
        return value
    if "${" not in value and "\r" not in value and not value.endswith("\\"):
        if "'" not in value and "\\\\" not in value:
            return f"'{value}'"
        if "$" not in value and "`" not in value:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    raise _refused(f"no way of writing the value of {name} reads the same in sh, bash and python-dotenv")


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _refused(what: str) -> EnvError:
    return EnvError(f"the environment was not written: {what}", reason="argument")
