"""What load_env and export_env may write, and where.

A server's names are refused where they change how programs load or where their requests go. A file is written so
that whoever reads its format reads back exactly what the server sent, or it is not written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from .._core.files import lock_dir, replace_file
from ..exceptions import EnvError
from .env_formats import Format, format_env
from .unsafe_names import is_unsafe

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
"""What a variable may be called."""

_SPECIAL = re.compile(r"/proc/|/dev/(?!shm/)")


def select(variables: Mapping[str, str], only: str | Collection[str] | None = None) -> dict[str, str]:
    """The variables whose names match a pattern of `only` (`DB_*`; None takes all). EnvError where one that is no
    pattern but a name is missing, or none matches."""
    if only is None:
        return dict(variables)
    patterns = [only] if isinstance(only, str) else list(only)
    chosen = {
        name: value for name, value in variables.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    missing = [pattern for pattern in patterns if NAME.fullmatch(pattern) and pattern not in chosen]
    if missing:
        raise EnvError(f"the environment has no variable {missing[0]}", reason="argument")
    if not chosen:
        named = " or ".join(map(repr, patterns)) or "no pattern at all"
        raise EnvError(f"the environment has no variable that matches {named}", reason="argument")
    return chosen


def check(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """EnvError unless every name is a name, harmless or in `allow`, and every value can be a variable's."""
    if isinstance(allow, str):
        raise TypeError("allow must be a collection of names, not one string")
    for name, value in variables.items():
        if not NAME.fullmatch(name):
            raise _refused("a name in the environment is no variable name (letters, digits and _)")
        if name not in allow and is_unsafe(name):
            raise _refused(
                f"{name} changes how programs load or where requests go; give it to allow= (--allow) if you mean it"
            )
        if "\0" in value:
            raise _refused(f"the value of {name} holds a NUL character")


def load(
    variables: Mapping[str, str], allow: Collection[str] = (), only: str | Collection[str] | None = None
) -> dict[str, str]:
    """Put the variables into os.environ, and return them: all of them, or none and EnvError."""
    chosen = select(variables, only)
    check(chosen, allow)
    before = {name: os.environ.get(name) for name in chosen}
    try:
        os.environ.update(chosen)
        return chosen
    except (OSError, ValueError):
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
    # Out here: the codec's errors quote the value.
    raise _refused("this system cannot hold one of the values")


def render(variables: Mapping[str, str], allow: Collection[str] = (), form: Format = "dotenv") -> bytes:
    """The variables as a file of a format holds them; EnvError where it cannot."""
    check(variables, allow)
    try:
        return format_env(variables, form).encode("utf-8")
    except UnicodeEncodeError:
        why = "no file can hold that"
    except ValueError as error:
        why = str(error)
    raise _unwritten(why)


def export(
    variables: Mapping[str, str],
    path: str | os.PathLike[str],
    overwrite: bool = True,
    allow: Collection[str] = (),
    only: str | Collection[str] | None = None,
    form: Format = "dotenv",
) -> dict[str, str]:
    """Write the variables to a file of mode 0600, in one step, and return them; EnvError, and the old file as it was,
    where that cannot be. Without `overwrite` they follow what the file holds already."""
    chosen = select(variables, only)
    text = render(chosen, allow, form)
    if form == "json" and not overwrite:
        raise _unwritten("nothing can be added behind a JSON text")
    try:
        target = os.path.realpath(path)  # a link stays a link
        with lock_dir(os.path.dirname(target)):
            # A rename would put a file in the place of a device or a pipe, or of what standard output was sent to.
            if (os.path.lexists(target) and not os.path.isfile(target)) or _leads_through_a_device(os.fspath(path)):
                raise OSError("it is no regular file")
            before = b"" if overwrite else _content(target)
            if before and not before.endswith(b"\n"):
                before += b"\n"
            replace_file(target, before + text, mounts=True)
        return chosen
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
    except ValueError:
        why = "no file can be called that or hold that"
    raise _unwritten(f"the file {os.fspath(path)!r} could not be written: {why}")


def _leads_through_a_device(path: str) -> bool:
    """Whether a path, or a link on its way, names what a process has open: /dev/stdout, /dev/fd/3, /proc/self/fd/1."""
    for _ in range(40):  # links, as Linux follows them (path_resolution(7))
        folder, name = os.path.split(os.path.abspath(path))
        path = os.path.join(os.path.realpath(folder), name)
        if _SPECIAL.match(path):
            return True
        if not os.path.islink(path):
            return False
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return False


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _refused(what: str) -> EnvError:
    return EnvError(f"the environment was not taken: {what}", reason="argument")


def _unwritten(what: str) -> EnvError:
    return EnvError(f"the environment was not written: {what}", reason="argument")
