"""What the command shows: tables, plain text, one line for an error; and how soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Inside, Process, listed, refused
from tests.support.terminal import Terminal

ESCAPE = "\x1b["


@pytest.fixture
def kept(vault: Inside) -> Inside:
    """A vault with one thing of each kind, and a token whose label means harm."""
    vault("secret", "set", "key", "--from-file", "-", input="sk-canary")
    vault("env", "set", "web", "KEY=@key")
    vault("route", "set", "api", "--upstream", "https://example.com", "--inject", "Authorization: Bearer {key}")
    vault(
        *("token", "issue", "--secret", "key", "--ttl", "24h", "--uses", "10", "--rate", "60/m"),
        *("--label", f"{ESCAPE}31m\r\n\t[bold]x[/bold]\x9b\u202e\x07 käse"),
    )
    return vault


@pytest.mark.parametrize("kind", ["secret", "env", "route", "token"])
def test_a_list_is_a_coloured_table_on_a_terminal(kind: str, kept: Inside) -> None:
    [row] = listed(kept(kind, "list", "--json"))
    with Terminal(kind, "list") as terminal:
        assert terminal.end() == 0
    assert ESCAPE in terminal.shown
    columns = ("id", "opens", "state") if kind == "token" else list(row)[:3]
    for text in (*columns, str(row.get("name")), "─"):
        assert text in terminal.shown


@pytest.mark.parametrize("kind", ["secret", "env", "route", "token"])
def test_a_list_is_plain_in_a_pipe(kind: str, kept: Inside, process: Process) -> None:
    done = process(kind, "list", TERM="xterm-256color")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(character.isprintable() or character in "\t\n" for character in done.stdout)
    assert len(done.stdout.splitlines()) == 1


def test_json_is_the_same_on_a_terminal_and_in_a_pipe(kept: Inside) -> None:
    with Terminal("token", "list", "--json") as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.shown
    assert json.loads(terminal.shown) == listed(kept("token", "list", "--json"))


def test_a_label_does_not_steer_the_terminal(kept: Inside) -> None:
    with Terminal("token", "list", columns=200) as terminal:
        assert terminal.end() == 0
    assert "?[31m???[bold]x[/bold]??? käse" in terminal.shown
    assert f"{ESCAPE}31m" not in terminal.shown
    assert not {"\x9b", "\u202e", "\x07"} & set(terminal.shown)


def test_an_id_is_whole_on_a_narrow_terminal(kept: Inside) -> None:
    [row] = listed(kept("token", "list", "--json"))
    with Terminal("token", "list", columns=60) as terminal:
        assert terminal.end() == 0
    assert row["id"] in terminal.shown


def test_a_table_of_nothing_says_so(vault: Inside) -> None:
    with Terminal("token", "list") as terminal:
        assert terminal.end() == 0
    assert terminal.shown == "nothing yet\r\n"
    assert vault("token", "list").stdout == ""


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
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    command = f"{sys.executable} -m oo.cli get <&-"
    assert "there is no token" in refused(
        subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=10)
    )


def test_help_loads_nothing_that_is_slow() -> None:
    code = """if True:
        import sys
        sys.argv = ["oo", "--help"]
        from oo.cli import main
        try:
            main()
        except SystemExit as end:
            assert not end.code
        print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
    """
    # What measures coverage in a process loads more.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True, env=env)
    assert "Usage: oo" in done.stdout
    loaded = set(eval(done.stderr))
    assert {"oo", "click"} <= loaded
    slow = "aiohttp asyncio cryptography dotenv http platformdirs pluggy requests rich sqlite3 ssl urllib3".split()
    assert loaded.isdisjoint(slow)


def test_a_whole_way_from_a_vault_to_a_call(home: Path, process: Process) -> None:
    assert process("init").returncode == 0
    assert process("secret", "set", "key", "--from-file", "-", input="sk-canary\n").returncode == 0
    token = process("token", "issue", "--secret", "key", "--uses", "1").stdout.strip()
    command = [sys.executable, "-m", "oo.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stderr is not None
        try:
            url = server.stderr.readline().removeprefix("oo: listening on ").strip()
            port = url.rpartition(":")[2]
            assert "cannot be listened on" in refused(process("serve", "--port", port))
            assert process("get", OO_TOKEN=token, OO_BASE_URL=url).stdout == "sk-canary"
            assert "not accepted" in refused(process("get", OO_TOKEN=token, OO_BASE_URL=url))
        finally:
            server.terminate()
        assert server.wait(10) == 0
    outcomes = [json.loads(line)["outcome"] for line in process("audit").stdout.splitlines()]
    assert outcomes == ["allowed", "used up"]
    assert json.loads(process("token", "list", "--json").stdout)[0]["state"] == "used up"


def test_the_gateway_listens_on_loopback_alone_without_tls(vault: Inside, inside: Inside) -> None:
    assert "is not loopback" in refused(inside("serve", "--host", "0.0.0.0", "--port", "0"))


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


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("x", name="somebody_elses")])
def test_an_error_that_should_not_have_been_keeps_its_traceback(
    error: Exception, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("oo._demo.run", failing)
    with pytest.raises(type(error)) as caught:
        inside("demo")
    assert caught.value is error
