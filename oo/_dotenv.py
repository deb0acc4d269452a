"""What load_env and export_env may write, and how.

A server's names are refused where they change how programs load or where their requests go. A file is written so
that sh, bash and python-dotenv all read back exactly what the server sent, or it is not written.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping

from .exceptions import EnvError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
"""What a variable may be called."""

_PATIENCE = 5.0  # seconds

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")

_PREFIXES = tuple(
    "LD_ LDR_ DYLD_ _RLD __XPC_ MALLOC_ PYTHON BASH_ OO_ GIT_ XDG_ PERL5 PERL_ PERLIO RUBY LUA_INIT LUA_PATH LUA_CPATH "
    "COR_ CORECLR_ COMPLUS_ ERL_ JULIA_ RUSTC RUSTUP_ CARGO_BUILD_ CARGO_TARGET_ CGO_ CMAKE_ NPM_CONFIG_ PIP_ PYTEST_ "
    "TF_CLI_ NIX_ FZF_ KRB5_ LDAPTLS_ OPENSSL_".split()
)
_NAMES = frozenset(
    # How a shell, a loader or libc behaves
    "PATH PATHEXT PATH_LOCALE ENV IFS CDPATH SHELL SHELLOPTS BASHOPTS GLOBIGNORE EXECIGNORE POSIXLY_CORRECT TMOUT PS0 "
    "PS1 PS2 PS4 PROMPT_COMMAND INPUTRC HISTFILE FCEDIT MAILPATH ZDOTDIR FPATH NULLCMD READNULLCMD HOME COMSPEC "
    "SYSTEMROOT WINDIR USERPROFILE HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA PROGRAMDATA PSMODULEPATH __COMPAT_LAYER "
    "TMPDIR TMPPREFIX TEMP TMP LOCPATH NLSPATH NIS_PATH GCONV_PATH GLIBC_TUNABLES GETCONF_DIR HOSTALIASES LOCALDOMAIN "
    "RES_OPTIONS RESOLV_HOST_CONF TZDIR LIBPATH SHLIB_PATH TERMINFO TERMINFO_DIRS TERMCAP TERMPATH "
    # What an interpreter loads
    "__PYVENV_LAUNCHER__ VIRTUAL_ENV IPYTHONDIR JUPYTER_CONFIG_DIR JUPYTER_CONFIG_PATH COVERAGE_PROCESS_START "
    "GUNICORN_CMD_ARGS NODE_OPTIONS NODE_PATH NODE_REPL_EXTERNAL_MODULE NODE_V8_COVERAGE NODE_REDIRECT_WARNINGS "
    "ELECTRON_RUN_AS_NODE BUN_OPTIONS DENO_DIR YARN_RC_FILENAME PERLLIB GEM_HOME GEM_PATH GEMRC BUNDLE_GEMFILE "
    "BUNDLE_PATH BUNDLE_BIN_PATH BUNDLER_SETUP JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS JDK_JAVAC_OPTIONS _JAVA_OPTIONS "
    "IBM_JAVA_OPTIONS OPENJ9_JAVA_OPTIONS JAVA_OPTS JVM_OPTS CATALINA_OPTS GRADLE_OPTS MAVEN_OPTS MAVEN_ARGS ANT_OPTS "
    "SBT_OPTS CLASSPATH JAVA_HOME JRE_HOME PHPRC PHP_INI_SCAN_DIR R_HOME R_PROFILE R_PROFILE_USER R_ENVIRON "
    "R_ENVIRON_USER R_LIBS R_LIBS_USER R_LIBS_SITE R_DEFAULT_PACKAGES DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS "
    "DOTNET_SHARED_STORE DOTNET_ROOT ASPNETCORE_HOSTINGSTARTUPASSEMBLIES MONO_PATH MONO_CONFIG MONO_ENV_OPTIONS "
    "MONO_GAC_PREFIX GHCRTS GHC_PACKAGE_PATH GHC_ENVIRONMENT CAML_LD_LIBRARY_PATH OCAMLRUNPARAM ELIXIR_ERL_OPTIONS "
    "GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH TCLLIBPATH TCL_LIBRARY AWKPATH AWKLIBPATH EMACSLOADPATH VIMINIT EXINIT "
    # What a tool runs or loads
    "GOFLAGS GOROOT GOPATH GOENV GOPROXY GOSUMDB GOTOOLCHAIN GOCACHEPROG GOAUTH RUSTFLAGS RUSTDOC RUSTDOCFLAGS "
    "CARGO_HOME CARGO_ENCODED_RUSTFLAGS UV_INDEX UV_INDEX_URL UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS "
    "UV_CONFIG_FILE UV_PYTHON UV_INSECURE_HOST CC CXX CPP LD AR CFLAGS CXXFLAGS CPPFLAGS LDFLAGS GCC_EXEC_PREFIX "
    "COMPILER_PATH LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH PKG_CONFIG PKG_CONFIG_PATH MAKE MAKEFILES "
    "MAKEFLAGS GNUMAKEFLAGS MFLAGS TAR_OPTIONS ZIPOPT RIPGREP_CONFIG_PATH EDITOR VISUAL PAGER MANPAGER SYSTEMD_PAGER "
    "SYSTEMD_EDITOR PSQL_PAGER PSQL_EDITOR PSQLRC BROWSER LESS LESSOPEN LESSCLOSE LESSEDIT LESSKEY LESSKEYIN "
    "LESSKEY_CONTENT SSH_ASKPASS SUDO_ASKPASS SSH_SK_PROVIDER SSH_AUTH_SOCK GNUPGHOME RSYNC_RSH RSYNC_CONNECT_PROG "
    "CVS_RSH SVN_SSH SVN_EDITOR HGRCPATH HGEDITOR HGMERGE ANSIBLE_CONFIG APT_CONFIG KUBECONFIG DOCKER_CONFIG "
    "CLOUDSDK_PYTHON CLOUDSDK_CONFIG GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES AWS_CONFIG_FILE AWS_DATA_PATH "
    "AWS_SHARED_CREDENTIALS_FILE BOTO_CONFIG WGETRC SASL_PATH ODBCINI ODBCINSTINI ODBCSYSINI LIBMYSQL_PLUGINS "
    "LIBMYSQL_PLUGIN_DIR GTK_MODULES GTK3_MODULES GTK_PATH GIO_EXTRA_MODULES GIO_MODULE_DIR GDK_PIXBUF_MODULE_FILE "
    "GST_PLUGIN_PATH QT_PLUGIN_PATH QT_QPA_PLATFORM_PLUGIN_PATH QML_IMPORT_PATH QML2_IMPORT_PATH LIBGL_DRIVERS_PATH "
    "VK_DRIVER_FILES VK_ICD_FILENAMES VK_LAYER_PATH OCL_ICD_VENDORS CUDA_INJECTION64_PATH "
    # Where a request goes and whom it trusts
    "HTTP_PROXY HTTPS_PROXY FTP_PROXY WS_PROXY WSS_PROXY SOCKS_PROXY SOCKS5_PROXY SOCKS_SERVER GRPC_PROXY RSYNC_PROXY "
    "ALL_PROXY NO_PROXY NO_GRPC_PROXY DOCKER_HOST SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE REQUESTS_CA_BUNDLE "
    "CURL_CA_BUNDLE CURL_HOME AWS_CA_BUNDLE HTTPLIB2_CA_CERTS WEBSOCKET_CLIENT_CA_BUNDLE CARGO_HTTP_CAINFO "
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED DENO_CERT DENO_TLS_CA_STORE "
    "NETRC".split()
)

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
    try:
        target = os.path.realpath(path)  # a link stays a link
        with _alone(os.path.dirname(target)):
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


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    # What another caller appends between reading and replacing would be lost. The folder's lock, since the file is
    # replaced; it ends with its process. Windows has none, nor have some network file systems. Not without end:
    # `flock FOLDER oo export FOLDER/.env` would wait for its own parent.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise OSError("another program keeps its folder locked") from None
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(handle)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def replace_file(path: str, content: bytes) -> None:
    """Write a file of mode 0600 in one step: at any moment, a crash included, it is the old one or the new one."""
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix=".oo-", dir=folder)  # beside its target: the rename is atomic
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o600)  # which it has already, less the umask
        with _synced(folder):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _synced(folder: str) -> Iterator[None]:
    """Until its folder is on the disk, so may a rename not be."""
    if os.name != "posix":  # Windows has no such call
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # before the rename: where this fails, nothing has happened
    try:
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(what: str) -> EnvError:
    return EnvError(f"the environment was not written: {what}", reason="argument")
