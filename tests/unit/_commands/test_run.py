"""`oo run`: the command takes its place, with an environment of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import CANARY, Process, refused
from tests.support.terminal import Terminal
from tests.support.waiting import PATIENCE

# Signals as somebody who types has them, whoever runs the tests; but for those that are given as ignored or blocked.
_START = """if True:
    import os, signal, sys
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGQUIT", "SIGCHLD"):
        signal.signal(getattr(signal, name), signal.SIG_IGN if name == sys.argv[1] else signal.SIG_DFL)
        if "blocked " + name == sys.argv[1]:
            signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name)])
    os.execv(sys.executable, [sys.executable, "-m", "oo.cli", "run", "--", *sys.argv[2:]])
"""


@pytest.fixture(autouse=True)
def token(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """OO_TOKEN opens an environment."""
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    token = gateway.environment("web", {"TEST_KEY": CANARY, "HELD": "two words\n"})
    monkeypatch.setenv("OO_TOKEN", token)
    return token


@contextmanager
def running(*command: str, ignored: str = "") -> Iterator[subprocess.Popen[str]]:
    """A command under `oo run`, once it has said that it is ready."""
    arguments = [sys.executable, "-c", _START, ignored, *command]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_the_command_has_the_environment_and_not_the_token(process: Process) -> None:
    code = 'printf "%s|%s|%s|%s" "$TEST_KEY" "$HELD" "${OO_TOKEN-none}" "$INHERITED"'
    done = process("run", "--", "sh", "-c", code, INHERITED="yes")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{CANARY}|two words\n|none|yes", "")


SECRETS = ("OO_TOKEN", "OO_MASTER_KEY", "OO_ADMIN_TOKEN", "OO_ANYTHING")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_no_secret_of_ours_is_in_any_process_that_the_command_sees(
    token: str, gateway: oo.testing.LocalGateway
) -> None:
    # Those of the command itself, and of each of its ancestors up to whoever started it, which has none.
    code = """if True:
        import os
        pid, seen = os.getpid(), []
        while pid != int(os.environ["STARTER"]):
            status = open(f"/proc/{pid}/status").read()
            seen.append(open(f"/proc/{pid}/environ").read() + open(f"/proc/{pid}/cmdline").read())
            pid = int(status.partition("PPid:")[2].split()[0])
        print(len(seen), *seen, sep="\\n")
    """
    secrets = dict.fromkeys(SECRETS, CANARY + "-ours") | {"OO_TOKEN": token}
    kept = {"OO_HOME": "/nowhere", "OO_BASE_URL": gateway.url, "OO_PLUGINS": "off"}
    environ = {"PATH": os.environ["PATH"], "STARTER": str(os.getpid()), **kept, **secrets}
    command = [sys.executable, "-m", "oo.cli", "run", "--", sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1\n")
    assert token not in done.stdout
    assert CANARY + "-ours" not in done.stdout
    for name in SECRETS:
        assert name not in done.stdout
    for name, value in kept.items():
        assert f"{name}={value}" in done.stdout


def test_the_command_is_this_very_process() -> None:
    with running(sys.executable, "-c", "import os; print('ready', flush=True); print(os.getpid())") as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{process.pid}\n"


def test_only_what_is_named_is_given(process: Process, gateway: oo.testing.LocalGateway) -> None:
    token = gateway.environment("more", {"DB_HOST": "h", "DB_PASSWORD": "p", "MODE": "m", "LD_PRELOAD": "/nowhere"})
    shown = 'echo "${DB_HOST-}|${DB_PASSWORD-}|${MODE-}|${LD_PRELOAD-}"'
    for only, expected in ((["--only", "DB_*"], "h|p||"), (["--only", "MODE", "--only", "DB_HOST"], "h||m|")):
        assert process("run", *only, "--", "sh", "-c", shown, OO_TOKEN=token).stdout == f"{expected}\n"
    for only in ("NONE", "NONE_*"):
        said = refused(process("run", "--only", only, "--", "true", OO_TOKEN=token))
        assert said.startswith("the environment has no variable ")
        assert only in said


def test_a_token_from_a_file_is_enough(process: Process, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    done = process("run", "--token-file", str(tmp_path / "token"), "sh", "-c", "echo $TEST_KEY", OO_TOKEN="")
    assert done.stdout == f"{CANARY}\n"


def test_options_of_the_command_are_its_own(process: Process) -> None:
    assert process("run", "echo", "--help", "-x", "--", "--allow").stdout == "--help -x -- --allow\n"
    assert process("run", "--", "echo", "-x", "--help").stdout == "-x --help\n"


def test_an_option_that_is_none_is_not_run_as_a_command(process: Process) -> None:
    assert "--alow" in refused(process("run", "--alow", "X", "--", "true"), 2)
    assert "CMD" in refused(process("run"), 2)


@pytest.mark.parametrize("code", [0, 1, 2, 77, 255])
def test_the_exit_code_is_the_commands(code: int, process: Process) -> None:
    done = process("run", "--", "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "PIPE", "XFSZ"])
def test_a_signal_that_ends_the_command_is_what_its_parent_sees(name: str, process: Process) -> None:
    done = process("run", "--", "sh", "-c", f"ulimit -c 0; kill -{name} $$")
    assert done.returncode == -getattr(signal, f"SIG{name}")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT"])
def test_a_signal_reaches_the_command(name: str) -> None:
    code = f'trap "echo got {name}; exit 7" {name}; echo ready; while :; do sleep 0.02; done'
    with running("sh", "-c", code) as process:
        process.send_signal(getattr(signal, f"SIG{name}"))
        said, _ = process.communicate(timeout=PATIENCE)
    assert (said, process.returncode) == (f"got {name}\n", 7)


def test_a_signal_that_was_ignored_stays_so() -> None:
    with running("sh", "-c", "echo ready; read line; echo $line", ignored="SIGHUP") as process:
        process.send_signal(signal.SIGHUP)
        said, _ = process.communicate("still here\n", timeout=PATIENCE)
    assert (said, process.returncode) == ("still here\n", 0)


def test_the_command_inherits_the_mask() -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGCHLD})"
    command = [sys.executable, "-c", _START, "blocked SIGCHLD", sys.executable, "-c", code]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE).stdout == "True\n"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_the_command_has_what_was_opened_for_it_and_nothing_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file:
        given = file.fileno()
        code = f"import os; os.write({given}, ' '.join(os.listdir('/dev/fd')).encode())"
        command = [sys.executable, "-m", "oo.cli", "run", "--", sys.executable, "-c", code]
        done = subprocess.run(command, pass_fds=[given], capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        file.seek(0)
        found = file.read().split()
    # And the one that lists them.
    assert len(found) == 5
    assert {"0", "1", "2", str(given)} < set(found)


@pytest.mark.parametrize("how", ["key", "kill"])
def test_an_interrupt_on_a_terminal_reaches_the_command_once(how: str) -> None:
    code = """if True:
        import signal, sys, time
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(1))
        print("ready", flush=True)
        while not seen:
            time.sleep(0.01)
        print("seen", flush=True)
        time.sleep(0.2)
        sys.exit(len(seen))
    """
    with Terminal("run", "--", sys.executable, "-c", code) as terminal:
        terminal.until("ready")
        if how == "key":
            terminal.send("\x03")
        else:
            terminal.process.send_signal(signal.SIGINT)
        terminal.until("seen")
        assert terminal.end() == 1


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-rpf", "--mount-proc", "true"]).returncode != 0,
    reason="needs a namespace of its own",
)
def test_as_the_first_process_it_leaves_no_zombie() -> None:
    script = (
        "for i in 1 2 3; do (sh -c 'sleep 0.1 & exit 0'); done; sleep 1; "
        "for p in /proc/[0-9]*; do grep -h '^State' $p/status; done 2>/dev/null; echo done"
    )
    command = ["unshare", "-rpf", "--mount-proc", sys.executable, "-m", "oo.cli", "run", "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.endswith("done\n")
    assert "Z (zombie)" not in done.stdout


def test_the_command_reads_what_comes_in(process: Process, token: str) -> None:
    assert process("run", "--", "cat", input="one\ntwo\n").stdout == "one\ntwo\n"
    assert process("run", "--", "cat", input=f"{token}\none\ntwo\n", OO_TOKEN="").stdout == "one\ntwo\n"


def test_the_command_is_on_the_terminal() -> None:
    with Terminal("run", "--", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo yes") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == "yes\r\n"


@pytest.mark.parametrize(
    ("env", "said"),
    [({"OO_TOKEN": "oo_wrong"}, "not accepted"), ({"OO_BASE_URL": "http://127.0.0.1:9"}, "connection refused")],
    ids=["token", "gateway"],
)
def test_without_its_environment_the_command_is_not_started(
    env: dict[str, str], said: str, process: Process, tmp_path: Path
) -> None:
    assert said in refused(process("run", "--", "touch", str(tmp_path / "started"), **env))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "https_proxy", "OO_BASE_URL"])
def test_a_name_that_steers_loading_is_refused_unless_allowed(
    name: str, gateway: oo.testing.LocalGateway, process: Process, tmp_path: Path
) -> None:
    token = gateway.environment("evil", {name: "/nowhere"})
    command = ("--", "/bin/sh", "-c", f'touch "$0"; echo ${name}', str(tmp_path / "started"))
    assert name in refused(process("run", *command, OO_TOKEN=token))
    assert not (tmp_path / "started").exists()
    # Whether the shell then finds touch is another matter.
    assert process("run", "--allow", name, *command, OO_TOKEN=token).stdout == "/nowhere\n"


def test_a_token_in_the_place_of_a_command_is_not_repeated(process: Process) -> None:
    token = "oo_" + "0" * 49
    for command in ((token,), ("--", token), ("--", f"/tmp/{token}")):
        result = process("run", *command)
        assert (result.returncode, token in result.stderr) == (127, False)
    assert "a token is never an argument" in process("run", token).stderr


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(process: Process, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o644)
    for command, code in (("oo-no-such-command", 127), (str(tmp_path / "none"), 127), (str(script), 126), ("/", 126)):
        assert command in refused(process("run", "--", command), code)


def test_a_command_is_found_and_run_as_env_does_it(process: Process, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    contents = {
        first / "plain": 'echo "plain $0 $1 $TEST_KEY"\n',  # no #!
        first / "dull": "no program",
        second / "dull": "#!/bin/sh\necho second\n",
        first / "lost": "#!/nowhere/at/all\n",
        second / "empty": "",
    }
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    (first / "dull").chmod(0o644)
    (first / "folder").mkdir()
    (tmp_path / "file").touch()
    path = f"{tmp_path / 'none'}:{tmp_path / 'file'}:{first}:{second}:{os.environ['PATH']}"
    for command in (
        "plain",
        "dull",
        "lost",
        "empty",
        "folder",
        "",
        str(first / "plain"),
        str(first / "dull"),
        "none/x",
    ):
        ours = process("run", "--", command, "an argument", PATH=path)
        env = subprocess.run(
            ["/usr/bin/env", f"TEST_KEY={CANARY}", command, "an argument"],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
        )
        if command != "":  # which env takes for a variable or refuses in its own words
            assert (ours.returncode, ours.stdout) == (env.returncode, env.stdout), command
        else:
            assert ours.returncode == 127


def test_a_command_that_ends_early_ends_what_writes_to_it(process: Process) -> None:
    # Python ignores SIGPIPE for itself, and must not for the command.
    done = process("run", "--", "sh", "-c", "yes | head -n 1; (sleep 0.1; yes) | true; echo over")
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\nover\n", "")


def test_a_token_file_may_begin_with_a_mark_and_lie_in_ones_home(process: Process, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbf" + token.encode() + b"\r\n")
    for argument in (("--token-file", "~/token"), ("--token-file=~/token",)):
        done = process("run", *argument, "sh", "-c", "echo $TEST_KEY", OO_TOKEN="", HOME=str(tmp_path))
        assert (done.stdout, done.stderr) == (f"{CANARY}\n", "")
