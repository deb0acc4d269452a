"""Whatever goes wrong is one line on standard error, and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import CANARY, Inside, refused
from tests.support.terminal import Terminal
from tests.support.waiting import PATIENCE

ESCAPE = "\x1b["


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("--frobnicate",),
        ("secret", "frobnicate"),
        ("secret", "set"),
        ("secret", "list", "extra"),
        ("get", "--frobnicate"),
        ("serve", "--port", "x"),
        ("serve", "--port", "99999"),
        ("serve", "--workers", "0"),
        ("serve", "--tls-cert", "pyproject.toml"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    assert refused(inside(*arguments), 2).endswith("--help)")


@pytest.mark.parametrize("group", ["secret", "env", "route", "bundle"])
@pytest.mark.parametrize("word", ["delete", "remove", "del"])
def test_another_word_for_rm_is_answered_with_it(group: str, word: str, inside: Inside) -> None:
    assert "did you mean 'rm'?" in refused(inside(group, word, "name"), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        (f"{ESCAPE}31m",),
        ("secret", "rm", f"{ESCAPE}31m\n"),
        ("get", f"{ESCAPE}31m"),
        ("export", "--token-file", f"{ESCAPE}31m"),
        ("health", "--base-url", f"http://{ESCAPE}31m"),
        ("serve", "--host", f"{ESCAPE}31m"),
        ("run", f"{ESCAPE}31m"),
    ],
    ids=lambda arguments: arguments[0][-4:],
)
def test_an_error_does_not_steer_the_terminal(arguments: tuple[str, ...], vault: Inside, inside: Inside) -> None:
    result = inside(*arguments)
    assert result.exit_code in (1, 2)
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", CANARY), "--token-file"),
        (("get", CANARY, CANARY), "--token-file"),
        (("export", ".env", CANARY), "--token-file"),
        (("proxy", "v1/models", CANARY), "--token-file"),
        (("chat", "Hello!", CANARY), "--token-file"),
        (("explain", "GET", f"/v1/{CANARY}"), "quote the call: oo explain 'GET /v1/models'"),
        (("secret", "set", "key", CANARY), "--from-file -"),
        (("secret", "list", CANARY), "(see oo secret list --help)"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_what_is_no_argument_is_said_where_to_go_and_not_quoted(
    arguments: tuple[str, ...], said: str, inside: Inside
) -> None:
    message = refused(inside(*arguments), 2)
    assert said in message
    assert CANARY not in message


def test_an_interrupt_is_quiet(vault: Inside, home: Path) -> None:
    (home / "audit.jsonl").write_text('{"outcome": "allowed"}\n')
    with Terminal("audit", "--follow") as terminal:
        terminal.until("allowed")
        with (home / "audit.jsonl").open("a") as file:
            file.write('{"outcome": "revoked"}\n')
        terminal.until("revoked")
        terminal.send("\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown


def test_a_pipe_that_breaks_is_quiet(vault: Inside, home: Path) -> None:
    (home / "audit.jsonl").write_text('{"outcome": "allowed"}\n' * 10_000)
    command = [sys.executable, "-m", "oo.cli", "audit"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_closed_streams_are_no_traceback(vault: Inside) -> None:
    for redirection in (">&-", "<&-", "2>&-"):
        command = f"{sys.executable} -m oo.cli secret list {redirection}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    command = f"{sys.executable} -m oo.cli get <&-"
    assert "there is no token" in refused(
        subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
    )


@pytest.mark.parametrize(
    ("name", "said"), [("aiohttp.web", 'aiohttp: pip install "double-o[server]"'), ("rich", "[cli]")]
)
def test_a_module_that_is_missing_is_told_with_the_extra_that_brings_it(
    name: str, said: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("oo._demo.run", missing)
    assert said in refused(inside("demo"))


@pytest.mark.parametrize(
    "command", [("get",), ("export",), ("proxy", "v1/x"), ("chat", "hi"), ("run", "true"), ("health",)]
)
def test_a_library_that_cannot_be_used_is_told_in_one_line(
    command: tuple[str, ...], inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.transports._urllib3_patches.HTTPConnection", object)
    monkeypatch.setenv("OO_TOKEN", CANARY)
    assert "the module urllib3 is another library's" in refused(inside(*command))


@pytest.mark.parametrize(
    "error", [KeyError("x"), ModuleNotFoundError("x", name="somebody_elses"), ImportError("cannot import a", name="b")]
)
def test_an_error_that_should_not_have_been_keeps_its_traceback(
    error: Exception, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("oo._demo.run", failing)
    with pytest.raises(type(error)) as caught:
        inside("demo")
    assert caught.value is error
