"""The formats of environment files. Each value is written so that its reader gets it exactly; else ValueError says
why not.

Names and values have been checked before: a name is letters, digits and `_`, a value is text without NUL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["dotenv", "sh", "node", "json", "docker", "systemd"]
"""Who is to read the file."""

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")

# What a shell that reads the file would set itself, refuse, or compute: bash runs the commands in OPTIND='a[$(...)]'.
_SHELLS_OWN = frozenset(
    "_ UID EUID PPID GROUPS SHLVL SHELLOPTS BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS "
    "BASH_LINENO BASH_MONOSECONDS BASH_SOURCE BASH_SUBSHELL BASH_TRAPSIG BASH_VERSINFO COMP_WORDBREAKS DIRSTACK "
    "EPOCHREALTIME EPOCHSECONDS FUNCNAME HISTCMD LINENO OPTIND PIPESTATUS RANDOM SECONDS SRANDOM".split()
)
_SYSTEMD_ESCAPED = re.compile(r'(["\\`$])')
_SYSTEMD_REFUSED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ufdd0-\ufdef]")
_DOCKER_LINE = 64 * 1024 - 1  # bytes: Go's bufio.Scanner takes no longer line


def format_env(variables: Mapping[str, str], form: Format = "dotenv") -> str:
    """The text of a file that holds the variables. ValueError, which quotes no value, where the format cannot."""
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r}: it is one of {', '.join(FORMATS)}")
    if form == "json":
        return json.dumps(dict(variables), indent=2, ensure_ascii=False) + "\n"
    write = _WRITERS[form]
    return "".join(f"{name}={write(name, value)}\n" for name, value in variables.items())


def quoted(name: str, value: str) -> str:
    r"""A value as sh, bash and python-dotenv all read it.

    Between single quotes sh takes everything as it is, but python-dotenv undoes `\\` and `\'`. Between double
    quotes they agree on `\\` and `\"`, but sh expands `$` and a backtick. python-dotenv expands `${...}` anywhere
    and reads CR as a line's end; up to 1.2.2 it takes a `\` before the closing quote for an escape of that quote
    wherever a later line holds another one.
    """
    _check_shells_own(name)
    if _BARE.fullmatch(value):
        return value
    if "${" not in value and "\r" not in value and not value.endswith("\\"):
        if "'" not in value and "\\\\" not in value:
            return f"'{value}'"
        if "$" not in value and "`" not in value:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    raise ValueError(f"no way of writing the value of {name} reads the same in sh, bash and python-dotenv")


def _sh(name: str, value: str) -> str:
    """As sh and bash read it (POSIX, XCU 2.2.2): between single quotes everything stands for itself."""
    _check_shells_own(name)
    if _BARE.fullmatch(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _node(name: str, value: str) -> str:
    """As `node --env-file` and `util.parseEnv` read it.

    There a quote ends at the next one of its kind and nothing in it is an escape, but for `\\n` between double quotes.
    CRs are dropped everywhere. Without quotes a value ends at a `#` or at the line's end, and is trimmed.
    """
    if "\r" not in value:
        if _BARE.fullmatch(value):
            return value
        for quote in "'`\"":
            if quote not in value and not (quote == '"' and "\\n" in value):
                return f"{quote}{value}{quote}"
        if value[0] not in "'`\"" and "#" not in value and "\n" not in value and value == value.strip(" \t"):
            return value
    raise ValueError(f"Node's --env-file has no way of writing the value of {name}")


def _docker(name: str, value: str) -> str:
    """As `docker run --env-file` reads it: the rest of the line, as it is."""
    if "\n" in value or value.endswith("\r"):
        raise ValueError(f"docker's --env-file has no way of writing the value of {name}: it holds a line's end")
    if len(f"{name}={value}".encode()) > _DOCKER_LINE:
        raise ValueError(f"docker's --env-file takes no line as long as the value of {name}")
    return value


def _systemd(name: str, value: str) -> str:
    r"""As `EnvironmentFile=` reads it (systemd.exec(5)): between double quotes `"`, `\`, `` ` `` and `$` are escaped,
    and nothing is expanded. Control characters and noncharacters make it drop the variable."""
    if _BARE.fullmatch(value):
        return value
    if _SYSTEMD_REFUSED.search(value) or any(ord(character) & 0xFFFE == 0xFFFE for character in value):
        raise ValueError(f"systemd takes no control character as the value of {name} holds one")
    return '"' + _SYSTEMD_ESCAPED.sub(r"\\\1", value) + '"'


def _check_shells_own(name: str) -> None:
    if name in _SHELLS_OWN:
        raise ValueError(f"a shell that reads the file sets {name} itself")


_WRITERS: dict[str, Callable[[str, str], str]] = {
    "dotenv": quoted,
    "sh": _sh,
    "node": _node,
    "docker": _docker,
    "systemd": _systemd,
}
FORMATS: tuple[Format, ...] = ("dotenv", "sh", "node", "json", "docker", "systemd")
"""Every format."""
