"""`oo run`: a command with an environment of its own, that ends as if nothing stood between."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import Process, refused
from tests.support.terminal import Terminal
from tests.support.waiting import PATIENCE

CANARY = "sk-canary-0123456789"

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


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_nobody_but_the_command_has_the_environment(process: Process, token: str) -> None:
    done = process("run", "--", "sh", "-c", "cat /proc/$PPID/environ /proc/$PPID/cmdline; cat /proc/$$/cmdline")
    assert "oo.cli" in done.stdout
    assert CANARY not in done.stdout
    given = done.stdout.split("oo.cli")[1]
    assert token not in given


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


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV"])
def test_a_signal_that_ends_the_command_is_128_and_its_number(name: str, process: Process) -> None:
    done = process("run", "--", "sh", "-c", f"ulimit -c 0; kill -{name} $$")
    assert done.returncode == 128 + getattr(signal, f"SIG{name}")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT"])
def test_a_signal_is_handed_on(name: str) -> None:
    code = f'trap "echo got {name}; exit 7" {name}; echo ready; while :; do sleep 0.02; done'
    with running("sh", "-c", code) as process:
        process.send_signal(getattr(signal, f"SIG{name}"))
        said, _ = process.communicate(timeout=PATIENCE)
    assert (said, process.returncode) == (f"got {name}\n", 7)


def test_a_signal_that_the_command_does_not_catch_ends_both() -> None:
    with running("sh", "-c", "echo ready; exec sleep 30") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_a_signal_that_was_ignored_stays_so() -> None:
    with running("sh", "-c", "echo ready; read line; echo $line", ignored="SIGHUP") as process:
        process.send_signal(signal.SIGHUP)
        said, _ = process.communicate("still here\n", timeout=PATIENCE)
    assert (said, process.returncode) == ("still here\n", 0)


def test_a_signal_that_comes_while_the_command_starts_is_handed_on() -> None:
    code = """if True:
        import os, signal, subprocess, sys
        from oo._commands import run

        start = subprocess.Popen

        def interrupted(*args, **kwargs):
            child = start(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGTERM)
            return child

        subprocess.Popen = interrupted
        sys.exit(run._run(["sleep", "30"], os.environ))
    """
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 128 + signal.SIGTERM


def test_a_signal_that_only_another_thread_is_woken_by_is_handed_on() -> None:
    # As one that comes just before the wait begins: it is noted, and ends no system call.
    code = """if True:
        import os, signal, sys, threading, time
        from oo._commands import run

        def late():
            started.readline()
            time.sleep(0.05)
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        started = open(reading)
        threading.Thread(target=late).start()
        sys.exit(run._run(["sh", "-c", f"echo >&{writing}; exec sleep 30"], os.environ))
    """
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", ["SIGCHLD", "blocked SIGCHLD"])
@pytest.mark.parametrize("code", ["exit 7", "sleep 0.2; exit 7"])
def test_the_end_of_a_command_is_seen_though_its_signal_was_ignored_or_blocked(how: str, code: str) -> None:
    assert subprocess.run([sys.executable, "-c", _START, how, "sh", "-c", code], timeout=PATIENCE).returncode == 7


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


def test_the_interrupt_key_reaches_the_command_once() -> None:
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
        # Two signals at the same time would count as one, so this process is made to be late.
        terminal.process.send_signal(signal.SIGSTOP)
        terminal.send("\x03")
        terminal.until("seen")
        terminal.process.send_signal(signal.SIGCONT)
        assert terminal.end() == 1


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


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(process: Process, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o644)
    for command, code in (("oo-no-such-command", 127), (str(tmp_path / "none"), 127), (str(script), 126), ("/", 126)):
        assert command in refused(process("run", "--", command), code)
