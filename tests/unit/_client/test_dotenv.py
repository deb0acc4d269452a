"""What load_env and export_env write, in both worlds, and what sh, bash and python-dotenv read back.

The last property takes few examples in a plain run; `OO_EXAMPLES=5000 pytest -n 0 tests/unit/_client/test_dotenv.py`
takes many.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

import oo
from oo._client import dotenv as _dotenv
from oo._client import env_formats as _formats
from oo.testing import LocalGateway, MockTransport
from tests.support.waiting import PATIENCE
from tests.support.worlds import World

TOKEN = "a-token-for-an-environment"
URL = "http://localhost:3001"
CANARY = "gleaming-canary-77"

NO_NAMES = (
    "",
    "A-B",
    "1A",
    "A=B",
    "A B",
    " A",
    "Ä",
    "A\0",
    "A\n",
    "\nA",
    "A\r",
    "A.B",
    "A$B",
    "BASH_FUNC_ls%%",
    "\u0391",
)

# Each makes some program run other code, find other files, or send and trust elsewhere.
STEERING = {
    "loaders and libraries": "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LDR_PRELOAD DYLD_INSERT_LIBRARIES LIBPATH GCONV_PATH "
    "GLIBC_TUNABLES OPENSSL_CONF OPENSSL_MODULES",
    "shells": "PATH Path ENV BASH_ENV IFS CDPATH SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND ZDOTDIR FPATH HOME COMSPEC",
    "interpreters": "PYTHONPATH PYTHONSTARTUP PYTHONHOME PYTHONWARNINGS pythonpath NODE_OPTIONS NODE_PATH PERL5OPT "
    "PERL5LIB PERLLIB RUBYOPT RUBYLIB GEM_HOME JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH PHPRC "
    "PHP_INI_SCAN_DIR LUA_INIT LUA_INIT_5_4 LUA_CPATH_5_4 R_PROFILE DOTNET_STARTUP_HOOKS CORECLR_PROFILER_PATH "
    "ERL_FLAGS JULIA_LOAD_PATH AWKLIBPATH",
    "requests": "HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy FTP_PROXY "
    "grpc_proxy SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE "
    "NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED GRPC_DEFAULT_SSL_ROOTS_FILE_PATH HOSTALIASES OO_BASE_URL "
    "OO_PLUGINS OO_TOKEN OO_MASTER_KEY",
}

HARMLESS = (
    "A _A a1 DATABASE_URL REDIS_URL API_KEY SECRET_KEY JWT_SECRET AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_PROFILE AWS_ENDPOINT_URL OPENAI_API_KEY OPENAI_BASE_URL GITHUB_TOKEN GITLAB_TOKEN NPM_TOKEN UV_PUBLISH_TOKEN "
    "CARGO_REGISTRY_TOKEN GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT NODE_ENV RAILS_ENV RACK_ENV FLASK_APP "
    "DJANGO_SETTINGS_MODULE ASPNETCORE_ENVIRONMENT DOTNET_ENVIRONMENT MIX_ENV APP_ENV MODE DEBUG PORT HOST HOSTNAME "
    "USER LOG_LEVEL RUST_LOG TZ LANG LC_ALL PGHOST PGPASSWORD MYSQL_PWD SMTP_HOST SENTRY_DSN TF_VAR_region "
    "MY_PATH PATHS XPATH PROXY_URL LDAP_URL OOPS GITEA_URL PIPELINE_ID PERLMUTTER LESSON MONO_TOKEN JAVA_VERSION "
    "AWS_DEFAULT_REGION UV_PUBLISH_PASSWORD YARN_NPM_AUTH_TOKEN SPRING_DATASOURCE_PASSWORD VK_TOKEN GST_NUMBER "
    "POETRY_PYPI_TOKEN_PYPI BUNDLE_GITHUB__COM TF_VAR_token OMP_NUM_THREADS PROXY PAGERDUTY_KEY OPTS WINERY "
    "APP_NAME ANTHROPIC_API_KEY HF_TOKEN AIRFLOW__CORE__FERNET_KEY COMPOSER_AUTH DENO_AUTH_TOKENS DOCKER_PASSWORD "
    "GIT_TOKEN ANSIBLE_VAULT_PASSWORD HOMEBREW_GITHUB_API_TOKEN JAVA_OPTS PYTHON_VERSION PYTHONUNBUFFERED "
    "LDAP_PASSWORD MAVEN_OPTS HELM_TOKEN GH_PAGER EDITOR TELEGRAM_PROXY CORE_URL"
).split()

EXACT = {
    "EMPTY": "",
    "BARE": "a-b_c@d%e+f:g,h./9",
    "SPACE": " ",
    "SPACES": "  before and after \t ",
    "TAB": "\t",
    "NEWLINE": "\n",
    "NEWLINES": "\nfirst\n\nA=b\n",
    "COMMENT": "# not a comment",
    "HASH": "a # b",
    "EQUALS": "a=b=c==",
    "SINGLE": "it's",
    "SINGLES": "'''",
    "QUOTED": "'whole'",
    "DOUBLE": 'say "it"',
    "DOUBLES": '"whole"',
    "BOTH": '"it\'s"',
    "BACKSLASH": "a\\b",
    "ESCAPES": r"\n\t\x41\u0041\"\'",
    "BACKSLASHES": "\\\\server\\\\share",
    "CONTINUED": "a\\\nb",
    "ESCAPED_QUOTE": '\\"',
    "ESCAPED_SINGLE": "\\'",
    "DOLLAR": "$HOME and $$ and $1 $",
    "SUBSHELL": f"$(echo {CANARY})",
    "BACKTICK": f"`echo {CANARY}`",
    "BANG": "!! !$ wow!",
    "GLOB": "* ? [a-z] {a,b} ~ ~root",
    "TILDE": "~",
    "OPERATORS": "a;b&c|d<e>f(g)h",
    "EXPORT": "export A=b",
    "AT": "@home",
    "ATS": "@@home",
    "JSON": '{"a": ["b", null], "c": 1}',
    "PEM": "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n",
    "LATIN": "käse",
    "EMOJI": "🙈👩‍👩‍👧",
    "SEPARATORS": "a\u0085b\u2028c\u2029d\x1ce\x1df\x1eg\x0bh\x0ci",
    "BLANKS": "\u00a0\u2003\u3000",
    "BOM": "\ufeffa\ufeff",
    "CONTROLS": "".join(map(chr, range(1, 32))).replace("\r", "") + "\x7f",
    # Bytes that dash and bash keep for themselves inside.
    "CTLESC": "".join(map(chr, range(0x80, 0xA0))) + "\x01\x7f",
    "LAST": "\U0010ffff\ufffd\uffff",
    "LONG": "0123456789 '" * 1000,
}
"""Values that a file can hold."""

NOWHERE = {
    "a CR": "a\rb",
    "a CR at the end": "a\r\n",
    "braces": "${HOME}",
    "braces with a default": "${NONE:-x}",
    "braces in a quote": "it's ${HOME}",
    "a quote and a dollar": "it's $5",
    "a quote and a backtick": "it's `x`",
    "two backslashes and a dollar": "\\\\server\\$share",
    "a NUL": "a\0b",
    # python-dotenv up to 1.2.2 reads on to the next quote, which a later variable or a later export may bring.
    "a backslash at the end": "C:\\folder\\",
    "a backslash alone": "\\",
}
"""Values that sh, bash and python-dotenv read alike in no form."""

SHELLS_OWN = (
    "_ UID EUID PPID GROUPS SHLVL RANDOM SRANDOM SECONDS LINENO OPTIND HISTCMD EPOCHSECONDS EPOCHREALTIME FUNCNAME "
    "DIRSTACK PIPESTATUS SHELLOPTS BASHOPTS BASHPID BASH_VERSINFO"
).split()


def file_of(folder: Path, old: bytes | None) -> Path:
    """Where an environment goes; `old` is what is there, None for no file."""
    path = folder / ".env"
    if old is not None:
        path.write_bytes(old)
    return path


@pytest.fixture(autouse=True)
def _environ() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def answering(world: World, variables: Mapping[str, str]) -> Any:
    return world.client(URL, transport=MockTransport(lambda _request: {"secrets": dict(variables)}), plugins=False)


def refused(call: Callable[[], Any], reason: str = "argument") -> str:
    """The message of an EnvError that holds no value, wherever one looks."""
    with pytest.raises(oo.EnvError) as caught:
        call()
    error = caught.value
    assert (error.reason, error.retryable) == (reason, False)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args) + repr(vars(error))
    assert CANARY not in shown
    assert CANARY.encode() not in pickle.dumps(error)
    return str(error)


def by_shell(shell: str, path: Path, locale: str = "C") -> dict[str, str]:
    """What a child of a shell that read the file finds in its environment."""
    done = subprocess.run(
        [shell, "-c", f'set -a; . "$0"; {shutil.which("env")} -0', str(path)],
        capture_output=True,
        timeout=PATIENCE,
        env={"LC_ALL": locale},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return dict(each.decode("utf-8", "surrogateescape").split("=", 1) for each in done.stdout.split(b"\0")[:-1])


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    "sh": lambda path: by_shell("sh", path),
    "bash": lambda path: by_shell("bash", path),
    "bash in UTF-8": lambda path: by_shell("bash", path, "C.UTF-8"),
    "bash as sh": lambda path: by_shell(os.fspath(bash_as_sh(path.parent)), path),
    "python-dotenv": dotenv_values,
}


def bash_as_sh(folder: Path) -> Path:
    """Bash is the sh of some systems, and another shell by that name."""
    (folder / "bin").mkdir(exist_ok=True)
    link = folder / "bin" / "sh"
    if not link.exists():
        link.symlink_to(shutil.which("bash") or "")
    return link


def test_load_env_puts_the_whole_environment_into_os_environ(world: World, gateway: LocalGateway) -> None:
    os.environ["MODE"] = "old"
    before = dict(os.environ)
    variables = {"MODE": "new", **EXACT, **{f"N{i}": value for i, value in enumerate(NOWHERE.values()) if i != 8}}
    client = world.client(gateway.url)
    loaded = client.load_env(gateway.environment("web", variables))
    assert loaded == variables
    assert dict(os.environ) == {**before, **variables}
    child = subprocess.run([shutil.which("env") or "", "-0"], capture_output=True, check=True).stdout.split(b"\0")
    assert {f"{name}={value}".encode() for name, value in variables.items()} <= set(child)


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_one_name_that_is_none_refuses_them_all(world: World, name: str, tmp_path: Path) -> None:
    os.environ["GOOD"] = "old"
    before = dict(os.environ)
    client = answering(world, {"GOOD": CANARY, "OTHER": CANARY, name: CANARY, "LAST": CANARY})
    for call in (client.load_env, lambda *args, **kwargs: client.export_env(*args, tmp_path / ".env", **kwargs)):
        assert "no variable name" in refused(lambda call=call: call(TOKEN))
        refused(lambda call=call: call(TOKEN, allow={name}))
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", STEERING)
def test_a_name_that_steers_programs_is_refused_unless_it_is_the_one_allowed(
    world: World, kind: str, tmp_path: Path
) -> None:
    before = dict(os.environ)
    path = tmp_path / ".env"
    for name in STEERING[kind].split():
        client = answering(world, {"GOOD": CANARY, name: "/nowhere"})
        for allow in ((), {name + "X"}, {name.swapcase()}, ["GOOD", "*", ""], frozenset({name[:-1]})):
            assert f" {name} " in refused(lambda client=client, allow=allow: client.load_env(TOKEN, allow=allow))
            assert f" {name} " in refused(
                lambda client=client, allow=allow: client.export_env(TOKEN, path, allow=allow)
            )
    assert dict(os.environ) == before
    assert not path.exists()
    wanted = dict.fromkeys(STEERING[kind].split(), "/nowhere")
    client = answering(world, wanted)
    assert client.load_env(TOKEN, allow=list(wanted)) == wanted
    assert dict(os.environ) == {**before, **wanted}
    written = {name: value for name, value in wanted.items() if name not in SHELLS_OWN}
    assert answering(world, written).export_env(TOKEN, path, allow=set(wanted)) == written
    assert dotenv_values(path) == written


def test_what_programs_call_their_own_settings_is_taken(world: World, tmp_path: Path) -> None:
    variables = dict.fromkeys(HARMLESS, "x y")
    client = answering(world, variables)
    assert client.load_env(TOKEN) == variables
    assert {name: os.environ[name] for name in HARMLESS} == variables
    assert client.export_env(TOKEN, tmp_path / ".env") == variables
    assert dotenv_values(tmp_path / ".env") == variables


@pytest.mark.parametrize("variables", [{"PATH": CANARY}, {"A": CANARY}, {}])
def test_allow_as_one_string_is_a_type_error(world: World, variables: dict[str, str], tmp_path: Path) -> None:
    before = dict(os.environ)
    client = answering(world, variables)
    with pytest.raises(TypeError, match="collection of names"):
        client.load_env(TOKEN, allow="PATH")
    with pytest.raises(TypeError, match="collection of names"):
        client.export_env(TOKEN, tmp_path / ".env", allow="PATH")
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


VARIABLES = {"DB_HOST": "db", "DB_PASSWORD": "p w", "MODE": "x", "db_low": "l"}


@pytest.mark.parametrize(
    ("only", "taken"),
    [
        (None, list(VARIABLES)),
        ("DB_*", ["DB_HOST", "DB_PASSWORD"]),
        (["DB_*"], ["DB_HOST", "DB_PASSWORD"]),
        ({"MODE"}, ["MODE"]),
        (("MODE", "DB_H*", "NONE_*"), ["DB_HOST", "MODE"]),
        ("*", list(VARIABLES)),
        ("?B_[HP]*", ["DB_HOST", "DB_PASSWORD"]),
    ],
    ids=repr,
)
def test_only_takes_what_it_names(world: World, only: Any, taken: list[str], tmp_path: Path) -> None:
    before = dict(os.environ)
    # What is not taken may have any name and any value.
    others = {} if only in (None, "*") else {"LD_PRELOAD": "/nowhere", "no name": CANARY, "NUL": "\0"}
    client = answering(world, {**VARIABLES, **others})
    wanted = {name: VARIABLES[name] for name in taken}
    assert client.load_env(TOKEN, only=only) == wanted
    assert dict(os.environ) == {**before, **wanted}
    assert client.export_env(TOKEN, tmp_path / ".env", only=only) == wanted
    assert dotenv_values(tmp_path / ".env") == wanted


@pytest.mark.parametrize(
    ("only", "named"),
    [
        ("NONE", "variable NONE"),
        (["MODE", "MISSING"], "variable MISSING"),
        (["DB_PORT", "DB_*"], "variable DB_PORT"),
        ("NONE_*", "that matches 'NONE_*'"),
        (["NONE_*", "*_NONE"], "that matches 'NONE_*' or '*_NONE'"),
        ("", "that matches ''"),
        ([], "that matches no pattern at all"),
    ],
    ids=repr,
)
def test_only_names_nothing_that_is_not_there(world: World, only: Any, named: str, tmp_path: Path) -> None:
    before = dict(os.environ)
    client = answering(world, VARIABLES)
    said = refused(lambda: client.load_env(TOKEN, only=only))
    assert said == refused(lambda: client.export_env(TOKEN, tmp_path / ".env", only=only))
    assert said.startswith("the environment has no variable ")
    assert said.endswith(named)
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_only_does_not_allow_what_steers(world: World) -> None:
    client = answering(world, {"LD_PRELOAD": CANARY, "A": "x"})
    assert "LD_PRELOAD" in refused(lambda: client.load_env(TOKEN, only="LD_*"))


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null", "link", "chain"])
def test_what_a_process_has_open_is_never_replaced(place: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "chain").symlink_to("link")
    code = "import sys; from oo._client.dotenv import export; export({'A': 'x'}, sys.argv[1])"
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before\n")
        out.flush()
        done = subprocess.run([sys.executable, "-c", code, place], stdout=out, stderr=subprocess.PIPE, cwd=tmp_path)
        assert b"it is no regular file" in done.stderr
        assert os.fstat(out.fileno()).st_ino == (tmp_path / "out").stat().st_ino
    assert (tmp_path / "out").read_bytes() == b"before\n"


MOUNTED = """
import os, subprocess, sys, warnings
from pathlib import Path
from oo._client.dotenv import export

file, mounted = Path(sys.argv[1], "file"), Path(sys.argv[1], "folder", ".env")
file.write_text("OLD=1\\n" * 100)
file.chmod(0o644)
mounted.touch()
subprocess.run(["mount", "--bind", file, mounted], check=True)
for overwrite in (True, False):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        export({"A": "x"}, mounted, overwrite)
    assert ["written in place" in str(each.message) for each in seen] == [True], seen
assert file.read_text() == "A=x\\nA=x\\n", file.read_text()
assert file.stat().st_mode & 0o777 == 0o600
assert [each.name for each in mounted.parent.iterdir()] == [".env"]
"""


@pytest.mark.skipif(
    (
        subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0
        if shutil.which("unshare")
        else True
    ),
    reason="needs a namespace of its own",
)
@pytest.mark.parametrize("mode", [0o700, 0o500])
def test_a_file_that_is_a_mount_is_written_in_place_after_a_warning(mode: int, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".env").touch()
    (tmp_path / "folder").chmod(mode)
    command = ["unshare", "-rm", sys.executable, "-c", MOUNTED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_json_is_not_added_to(world: World, tmp_path: Path) -> None:
    client = answering(world, {"A": CANARY})
    path = tmp_path / "env.json"
    client.export_env(TOKEN, path, format="json")
    assert "JSON" in refused(lambda: client.export_env(TOKEN, path, overwrite=False, format="json"))
    assert json.loads(path.read_text()) == {"A": CANARY}


def test_a_format_that_is_none_is_named(world: World, tmp_path: Path) -> None:
    client = answering(world, {"A": CANARY})
    assert "dotenv, sh, node" in refused(lambda: client.export_env(TOKEN, tmp_path / "x", format="toml"))


def test_a_value_with_a_nul_refuses_them_all(world: World, tmp_path: Path) -> None:
    before = dict(os.environ)
    client = answering(world, {"GOOD": CANARY, "BAD": f"{CANARY}\0"})
    for call in (lambda: client.load_env(TOKEN), lambda: client.export_env(TOKEN, tmp_path / ".env")):
        message = refused(call)
        assert "NUL" in message
        assert "BAD" in message
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_is_no_answer_and_no_variable(world: World, tmp_path: Path) -> None:
    os.environ["OLD"] = "old"
    before = dict(os.environ)
    path = tmp_path / ".env"
    for half in ("\ud800", "\udc80"):
        for variables in ({"OLD": CANARY, "BAD": CANARY + half}, {"OLD": CANARY, f"BAD{half}": CANARY}):
            client = answering(world, variables)
            refused(lambda client=client: client.load_env(TOKEN), "protocol")
            refused(lambda client=client: client.export_env(TOKEN, path), "protocol")
            refused(lambda variables=variables: _dotenv.export(variables, path))
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_what_os_environ_cannot_hold_leaves_it_as_it_was() -> None:
    os.environ["OLD"] = "old"
    before = dict(os.environ)
    assert "cannot hold" in refused(lambda: _dotenv.load({"OLD": CANARY, "NEW": CANARY, "BAD": f"{CANARY}\ud800"}))
    assert dict(os.environ) == before


NARROW = """
import asyncio, os, sys, traceback
import oo
from oo.testing import MockTransport

answer = {"secrets": {"OLD": "new", "NEW": "new", "BAD": "k\\u00e4se"}}
os.environ["OLD"] = "old"
before = dict(os.environ)
arguments = {"base_url": "http://localhost:3001", "transport": MockTransport(lambda _request: answer), "plugins": False}

async def other():
    await oo.AsyncClient(**arguments).load_env("token")

for call in (lambda: oo.Client(**arguments).load_env("token"), lambda: asyncio.run(other())):
    try:
        call()
    except oo.EnvError as error:
        assert error.reason == "argument" and error.__context__ is None, traceback.format_exc()
        assert dict(os.environ) == before
        print(sys.getfilesystemencoding(), error)
"""


def test_a_system_that_knows_ascii_alone_takes_all_or_nothing() -> None:
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **narrow}
    )
    line = "ascii the environment was not taken: this system cannot hold one of the values\n"
    assert (done.stdout, done.stderr) == (line * 2, "")


def test_the_functions_do_as_a_client_does(gateway: LocalGateway, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"MODE": CANARY, "PYTHONSTARTUP": "/nowhere"}
    token, other = gateway.environment("web", variables), gateway.environment("other", {"OTHER": "two words"})
    before = dict(os.environ)
    assert "PYTHONSTARTUP" in refused(lambda: oo.load_env(token, gateway.url))
    assert "PYTHONSTARTUP" in refused(lambda: oo.export_env(token, base_url=gateway.url))
    assert (dict(os.environ), list(tmp_path.iterdir())) == (before, [])
    allow = {"PYTHONSTARTUP"}
    assert oo.load_env(token, gateway.url, 60, allow=allow) == variables
    assert dict(os.environ) == {**before, **variables}
    assert oo.export_env(token, base_url=gateway.url, allow=allow) == variables
    assert oo.export_env(other, ".env", False, gateway.url, 60) == {"OTHER": "two words"}
    assert dotenv_values(".env") == {**variables, "OTHER": "two words"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
@pytest.mark.parametrize("old", [None, 0o644, 0o666, 0o400])
def test_a_file_is_for_its_owner_alone_whatever_the_umask_and_the_old_mode(
    world: World, umask: int, old: int | None, tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    client = answering(world, {"A": CANARY})
    for overwrite in (True, False):
        if old is not None:
            path.unlink(missing_ok=True)
            path.write_text("OLD=1\n")
            path.chmod(old)
        before = os.umask(umask)
        try:
            client.export_env(TOKEN, path, overwrite)
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o7777 == 0o600
        assert f"A={CANARY}\n" in path.read_text()


def test_a_reader_sees_the_old_file_or_the_new_one(world: World, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    both = [{"A": letter * 200_000, "B": letter} for letter in "xy"]
    clients = [answering(world, variables) for variables in both]
    clients[0].export_env(TOKEN, path)
    over, seen = threading.Event(), set()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        for turn in range(40):
            clients[turn % 2].export_env(TOKEN, path)
    finally:
        over.set()
        thread.join(PATIENCE)
    assert seen == {f"A={each['A']}\nB={each['B']}\n".encode() for each in both}


@contextlib.contextmanager
def no_larger_file_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("old", [None, b"OLD=1\n"])
def test_a_write_that_fails_leaves_what_was_there(
    world: World, old: bytes | None, overwrite: bool, tmp_path: Path
) -> None:
    path = file_of(tmp_path, old)
    client = answering(world, {"A": CANARY * 10_000})
    with no_larger_file_than(4096):
        message = refused(lambda: client.export_env(TOKEN, path, overwrite))
    assert repr(os.fspath(path)) in message
    assert "file too large" in message
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if old is None else [old])


KILLED = """
import asyncio, os, signal, sys
import oo
from oo.testing import MockTransport

path = sys.argv[1]
transport = MockTransport(lambda _request: {"secrets": {"A": "new"}})
arguments = {"base_url": "http://localhost:3001", "transport": transport, "plugins": False}

async def other():
    await oo.AsyncClient(**arguments).export_env("token", path)

def die(event, _args):
    if event == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

for call in (lambda: oo.Client(**arguments).export_env("token", path), lambda: asyncio.run(other())):
    child = os.fork()
    if not child:
        asyncio.run(asyncio.sleep(0))
        sys.addaudithook(die)
        call()
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("event", ["tempfile.mkstemp", "os.chmod", "os.rename"])
def test_kill_9_leaves_the_old_file_and_shows_nobody_the_new_one(event: str, tmp_path: Path) -> None:
    # A killed process cannot take its temporary file away.
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    command = [sys.executable, "-c", KILLED, str(path), event]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    # asyncio's debug mode may tell of a slow step.
    assert (done.stdout, "Traceback" in done.stderr) == (f"{signal.SIGKILL.value}\n" * 2, False)
    assert path.read_text() == "OLD=1\n"
    left = [each for each in tmp_path.iterdir() if each != path]
    assert all(each.name.startswith(".oo-") and each.stat().st_mode & 0o077 == 0 for each in left)


def test_a_link_stays_a_link(world: World, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, near, far = tmp_path / "folder" / "env", tmp_path / "near", tmp_path / "far"
    near.symlink_to("folder/env")
    far.symlink_to(near)
    client = answering(world, {"A": CANARY})
    for overwrite in (True, True, False):  # at first the target is not there
        client.export_env(TOKEN, far, overwrite)
        assert (near.is_symlink(), far.is_symlink(), target.is_symlink()) == (True, True, False)
    assert target.read_text() == f"A={CANARY}\n" * 2
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(target.parent) == ["env"]


def node(folder: Path, kind: int) -> Path:
    os.mknod(folder / "node", kind | 0o600)
    return folder / "node"


def link(folder: Path, target: str) -> Path:
    (folder / "link").symlink_to(target)
    return folder / "link"


PLACES: dict[str, tuple[Callable[[Path], str | Path], str]] = {
    "a folder that is not there": (lambda folder: folder / "none" / ".env", "no such file"),
    "a folder": (lambda folder: folder, "no regular file"),
    "below a file": (lambda folder: folder / "file" / ".env", "not a directory"),
    "too long a name": (lambda folder: folder / ("x" * 300), "too long"),
    "a pipe": (lambda folder: node(folder, stat.S_IFIFO), "no regular file"),
    "a socket": (lambda folder: node(folder, stat.S_IFSOCK), "no regular file"),
    "a link to itself": (lambda folder: link(folder, "link"), "no regular file"),
    "a NUL": (lambda folder: f"{folder}/a\0b", "no file can be called that"),
    "half a character": (lambda folder: f"{folder}/\ud800", "no file can be called that"),
}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_where_no_file_can_be_is_named(world: World, place: str, overwrite: bool, tmp_path: Path) -> None:
    make, why = PLACES[place]
    (tmp_path / "file").write_text("OLD=1\n")
    path = make(tmp_path)
    before = {each: os.lstat(each).st_ino for each in tmp_path.iterdir()}
    message = refused(lambda: answering(world, {"A": CANARY}).export_env(TOKEN, path, overwrite))
    assert repr(os.fspath(path)) in message
    assert why in message
    assert {each: os.lstat(each).st_ino for each in tmp_path.iterdir()} == before
    assert (tmp_path / "file").read_text() == "OLD=1\n"


@contextlib.contextmanager
def as_anybody() -> Iterator[Path]:
    """A folder of a user for whom permissions hold, as which the block runs."""
    user = os.geteuid() or 65534
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, user, -1)
        before = os.geteuid()
        os.seteuid(user)
        try:
            yield folder
        finally:
            os.seteuid(before)
            folder.chmod(0o700)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("mode", [0o500, 0o300, 0o000])
def test_a_folder_that_one_may_not_use_keeps_its_file(world: World, mode: int, overwrite: bool) -> None:
    # 0o300: a file can be made, but not brought to the disk for certain.
    client = answering(world, {"A": CANARY})
    client.get_env(TOKEN)  # what a first call imports is read as oneself
    with as_anybody() as folder:
        path = folder / ".env"
        path.write_text("OLD=1\n")
        folder.chmod(mode)
        message = refused(lambda: client.export_env(TOKEN, path, overwrite))
        folder.chmod(0o700)
        assert repr(os.fspath(path)) in message
        assert "permission denied" in message
        assert path.read_text() == "OLD=1\n"
        assert os.listdir(folder) == [".env"]


def test_an_old_file_that_cannot_be_read_is_not_added_to(world: World) -> None:
    client = answering(world, {"A": CANARY})
    client.get_env(TOKEN)
    with as_anybody() as folder:
        path = folder / ".env"
        path.write_text("OLD=1\n")
        path.chmod(0o200)
        assert "permission denied" in refused(lambda: client.export_env(TOKEN, path, overwrite=False))
        path.chmod(0o600)
        assert path.read_text() == "OLD=1\n"


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        (None, b""),
        (b"", b""),
        (b"OLD=1\n", b"OLD=1\n"),
        (b"OLD=1", b"OLD=1\n"),
        (b"# a comment", b"# a comment\n"),
        (b"OLD=1\r\n\n", b"OLD=1\r\n\n"),
        (b"OLD=\xff\xfe\n", b"OLD=\xff\xfe\n"),
    ],
)
def test_without_overwrite_the_variables_follow_what_is_there(
    world: World, old: bytes | None, kept: bytes, tmp_path: Path
) -> None:
    path = file_of(tmp_path, old)
    client = answering(world, {"A": "two words", "B": ""})
    for times in (1, 2):
        client.export_env(TOKEN, path, overwrite=False)
        assert path.read_bytes() == kept + b"A='two words'\nB=''\n" * times
    client.export_env(TOKEN, path)
    assert path.read_bytes() == b"A='two words'\nB=''\n"


def test_appending_at_the_same_time_loses_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    names = [f"N{number}" for number in range(12)]
    clients = [answering(world, {name: "x"}).client for name in names]
    calls = [lambda client=client: client.export_env(TOKEN, path, overwrite=False) for client in clients]
    assert world.together(*calls) == [{name: "x"} for name in names]
    assert sorted(path.read_text().split()) == sorted(f"{name}=x" for name in names)


def test_a_folder_that_another_program_keeps_locked_is_waited_for_but_not_without_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    client = answering(world, {"A": CANARY})
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    monkeypatch.setattr("oo._core.files._LOCK_TIMEOUT", 0.05)
    message = refused(lambda: client.export_env(TOKEN, path))
    assert repr(os.fspath(path)) in message
    assert "another program keeps its folder locked" in message
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("oo._core.files._LOCK_TIMEOUT", PATIENCE)
    threading.Timer(0.05, os.close, [handle]).start()
    client.export_env(TOKEN, path)
    assert path.read_text() == f"A={CANARY}\n"


@pytest.mark.parametrize("reader", READERS)
def test_of_a_variable_that_is_there_twice_the_later_one_is_read(reader: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    for variables in ({"A": "it's", "B": '"1"'}, {"A": '"2"', "C": "it's"}):
        _dotenv.export(variables, path, overwrite=False)
    got = READERS[reader](path)
    assert {name: got[name] for name in "ABC"} == {"A": '"2"', "B": '"1"', "C": "it's"}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_reads_what_the_server_sent(
    world: World, reader: str, gateway: LocalGateway, tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    client = world.client(gateway.url)
    assert client.export_env(gateway.environment("web", EXACT), path) == EXACT
    got = READERS[reader](path)
    assert {name: got.get(name) for name in EXACT} == EXACT
    assert got.keys() - EXACT.keys() <= {"LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize("value", NOWHERE.values(), ids=NOWHERE)
def test_a_value_that_would_be_read_in_two_ways_is_not_written(world: World, value: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    client = answering(world, {"GOOD": CANARY, "BAD": CANARY + value})
    for overwrite in (True, False):
        assert "BAD" in refused(lambda overwrite=overwrite: client.export_env(TOKEN, path, overwrite))
    assert path.read_text() == "OLD=1\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", SHELLS_OWN)
def test_a_name_that_a_shell_sets_itself_is_loaded_but_not_written(world: World, name: str, tmp_path: Path) -> None:
    # Bash takes some of them for arithmetic, in which it runs commands.
    client = answering(world, {"GOOD": CANARY, name: f"a[$(echo {CANARY})]"})
    assert f" {name} " in refused(lambda: client.export_env(TOKEN, tmp_path / ".env", allow={name}))
    assert list(tmp_path.iterdir()) == []
    client.load_env(TOKEN, allow={name})
    assert os.environ[name] == f"a[$(echo {CANARY})]"


@pytest.mark.parametrize(("shell", "known"), [("sh", "set"), ("bash", "compgen -v | sed s/$/=/")])
def test_each_variable_that_a_shell_knows_is_read_back_or_not_written(shell: str, known: str, tmp_path: Path) -> None:
    shown = subprocess.run([shell, "-c", known], capture_output=True, text=True, check=True, env={}).stdout
    names = {line.partition("=")[0] for line in shown.splitlines() if "=" in line}
    assert len(names) > 5
    variables = {}
    for name in names.union(SHELLS_OWN, *(kind.split() for kind in STEERING.values())):
        with contextlib.suppress(ValueError):
            _formats.quoted(name, "two words")
            variables[name] = "two words"
    path = tmp_path / ".env"
    _dotenv.export(variables, path, allow=set(variables))
    command = [shell, "-c", f'set -a; . "$0"; {shutil.which("env")} -0', str(path)]
    # A loader complains on stderr of what it was told to load.
    read = subprocess.run(command, capture_output=True, text=True, env={}).stdout.split("\0")
    assert [name for name in variables if f"{name}=two words" not in read] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("property")


PIECES = [
    "'",
    '"',
    "\\",
    "\\\\",
    "$",
    "${",
    "${X}",
    "}",
    "`",
    "\n",
    "\r",
    "#",
    " ",
    "=",
    "!",
    "\t",
    "n",
    "\0",
    "é",
    "🙈",
]
VALUES = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=8
).map("".join)


@settings(max_examples=int(os.environ.get("OO_EXAMPLES", "40")), deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=12))
def test_any_text_is_read_back_exactly_or_refused(place: Path, values: list[str]) -> None:
    path = place / ".env"
    variables = {}
    for number, value in enumerate(values):
        if cannot_be_written(value):
            refused(lambda value=value: _dotenv.export({"V": value}, path))
        else:
            variables[f"V{number}"] = value
    _dotenv.export(variables, path)
    for name, read in READERS.items():
        got = read(path)
        assert (name, {each: got.get(each) for each in variables}) == (name, variables)


def cannot_be_written(value: str) -> bool:
    if any(each in value for each in ("\0", "\r", "${")) or value.endswith("\\"):
        return True
    return ("'" in value or "\\\\" in value) and ("$" in value or "`" in value)
