"""What load_env and export_env may write, and how.

A server's names are refused where they change how programs load or where their requests go. A file is written so
that sh, bash and python-dotenv all read back exactly what the server sent, or it is not written.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Collection, Mapping

from .exceptions import EnvError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
"""What a variable may be called."""

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")

_PREFIXES = ("LD_", "DYLD_", "PYTHON", "OO_", "GIT_", "MALLOC_", "NPM_CONFIG_", "BASH_", "CORECLR_", "COR_")
_NAMES = frozenset(
    # How a shell, a loader or libc behaves
    "PATH PATHEXT ENV IFS CDPATH SHELL SHELLOPTS BASHOPTS GLOBIGNORE PS0 PS1 PS2 PS4 PROMPT_COMMAND ZDOTDIR FPATH HOME "
    "COMSPEC SYSTEMROOT WINDIR TMPDIR TEMP TMP LOCPATH NLSPATH GCONV_PATH GLIBC_TUNABLES GETCONF_DIR HOSTALIASES "
    "LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF TZDIR LIBPATH SHLIB_PATH TERMINFO TERMINFO_DIRS TERMCAP "
    # What an interpreter or a tool loads
    "NODE_OPTIONS NODE_PATH NODE_REPL_EXTERNAL_MODULE PERL5LIB PERL5OPT PERL5DB PERLLIB RUBYOPT RUBYLIB GEM_HOME "
    "GEM_PATH BUNDLE_GEMFILE JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH JAVA_HOME PHPRC "
    "PHP_INI_SCAN_DIR LUA_INIT LUA_PATH LUA_CPATH R_PROFILE R_PROFILE_USER R_LIBS DOTNET_STARTUP_HOOKS "
    "DOTNET_ADDITIONAL_DEPS GOFLAGS RUSTC RUSTC_WRAPPER RUSTFLAGS VIRTUAL_ENV PIP_CONFIG_FILE PIP_INDEX_URL "
    "PIP_EXTRA_INDEX_URL UV_INDEX_URL CC CXX MAKEFLAGS EDITOR VISUAL PAGER BROWSER LESSOPEN LESSCLOSE MANPAGER "
    "OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES GTK_MODULES GTK_PATH QT_PLUGIN_PATH "
    # Where a request goes and whom it trusts
    "HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE "
    "REQUESTS_CA_BUNDLE CURL_CA_BUNDLE CURL_HOME NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NETRC".split()
)


def check(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """EnvError unless every name is a name, harmless or in `allow`, and every value can be a variable's."""
    if isinstance(allow, str):
        raise TypeError("allow must be a collection of names, not one string")
    for name, value in variables.items():
        if not NAME.fullmatch(name):
            raise _refused("a name in the environment is no variable name (letters, digits and _)")
        # Programs read http_proxy as they read HTTP_PROXY, and Windows knows no case at all.
        upper = name.upper()
        if name not in allow and (upper in _NAMES or upper.startswith(_PREFIXES)):
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
    target = os.path.realpath(path)  # a link stays a link
    try:
        before = b"" if overwrite else _content(target)
        if before and not before.endswith(b"\n"):
            before += b"\n"
        replace_file(target, before + text.encode("utf-8"))
        return
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "it failed"
    raise _refused(f"the file {os.fspath(path)!r} could not be written: {why}")


def quoted(name: str, value: str) -> str:
    """A value as sh, bash and python-dotenv all read it; EnvError where they would not agree.

    Between single quotes sh takes everything as it is, but python-dotenv undoes `\\\\` and `\\'`. Between double
    quotes they agree on `\\\\` and `\\"`, but sh expands `$` and a backtick. python-dotenv expands `${...}` anywhere
    and reads CR as a line's end.
    """
    if _BARE.fullmatch(value):
        return value
    if "${" not in value and "\r" not in value:
        if "'" not in value and "\\\\" not in value and not value.endswith("\\"):
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


def replace_file(path: str, content: bytes) -> None:
    """Write a file of mode 0600 in one step: at any moment, a crash included, it is the old one or the new one."""
    # mkstemp makes the file with mode 0600, beside its target so that the rename is atomic.
    handle, temporary = tempfile.mkstemp(prefix=".oo-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(os.path.dirname(path) or ".")
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _sync_folder(path: str) -> None:
    # Until its folder is on the disk, so may the rename not be. Windows has no such call.
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _refused(what: str) -> EnvError:
    return EnvError(f"the environment was not written: {what}", reason="argument")
