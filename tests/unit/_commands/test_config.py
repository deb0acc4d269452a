from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from oo._commands._config import Configured, FromEnvironment, again, config_option
from oo._commands._values import Number
from oo.gateway.errors import StoreError


def run(*arguments: str, then: Any = None, **env: str) -> Any:
    """The options that a command gets, or the line that refuses them; `then` is given what reads them again."""
    got: list[Any] = []

    @click.command(cls=Configured, context_settings={"auto_envvar_prefix": "OO"})
    @click.option("--grace", default=30.0, type=Number(0, 99))
    @click.option("--name", default="none")
    @click.option("--more", multiple=True)
    @click.option("--flag", is_flag=True)
    @click.option("--port", default=1, type=int, cls=FromEnvironment)
    @config_option
    @click.pass_context
    def command(context: click.Context, /, **options: Any) -> None:
        options.pop("config")
        got.append({name: value for name, value in options.items() if value != DEFAULTS[name]})
        if then is not None:
            then(again(context, lambda **read: read))

    done = CliRunner().invoke(command, arguments, env=env)
    return got[0] if got else done.output.splitlines()[-1].removeprefix("Error: ")


DEFAULTS = {"grace": 30.0, "name": "none", "more": (), "flag": False, "port": 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


@pytest.mark.parametrize(
    ("text", "env", "arguments", "options"),
    [
        ("", {}, [], {}),
        ("grace = 5\nname = 'x'\nmore = ['a', 'b']\nflag = true\nport = 3\n", {}, [], None),
        ("grace = 5\n", {"OO_GRACE": "6"}, [], {"grace": 6.0}),
        ("grace = 5\n", {"OO_GRACE": "6"}, ["--grace", "7"], {"grace": 7.0}),
        ("more = 'a'\n", {}, [], {"more": ("a",)}),
        ("", {"OO_MORE": "a b", "OO_FLAG": "1"}, [], {"more": ("a", "b"), "flag": True}),
        ("", {"OO_PORT": "tcp://10.0.0.1:3001"}, [], {}),
        ("", {"OO_PORT": "3"}, [], {"port": 3}),
    ],
)
def test_an_argument_goes_before_the_environment_and_that_before_the_file(
    file: Path, text: str, env: dict[str, str], arguments: list[str], options: dict[str, Any] | None
) -> None:
    file.write_text(text)
    everything = {"grace": 5.0, "name": "x", "more": ("a", "b"), "flag": True, "port": 3}
    assert run("--config", str(file), *arguments, **env) == (everything if options is None else options)
    assert run(*arguments, OO_CONFIG=str(file), **env) == (everything if options is None else options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1\n", "there is no setting 'colour'"),
        ("config = 'x'\n", "there is no setting 'config'"),
        ("grace = [\n", "is no TOML"),
        ("grace = true\n", "grace is not one value"),
        ("grace = {a = 1}\n", "grace is not one value"),
        ("flag = 1\n", "flag is not true or false"),
        ("name = 660\n", "name is no text"),
        ("more = [1]\n", "more is no list of texts"),
        ("grace = -1\n", "-1"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    assert said in run("--config", str(file))


def test_a_file_that_is_not_there_is_said(file: Path) -> None:
    assert "cannot be read: No such file" in run("--config", str(file))


@pytest.mark.parametrize(
    ("arguments", "env", "place"),
    [
        (["--grace", "x"], {}, "'--grace'"),
        ([], {"OO_GRACE": "x"}, "OO_GRACE"),
        (["--config", "FILE"], {}, "grace in FILE"),
        ([], {"OO_CONFIG": "FILE"}, "grace in FILE"),
    ],
)
def test_a_value_that_is_refused_is_named_as_where_it_stands(
    arguments: list[str], env: dict[str, str], place: str, file: Path
) -> None:
    file.write_text("grace = 'x'\n")
    named = [part.replace("FILE", str(file)) for part in arguments]
    said = run(*named, **{name: value.replace("FILE", str(file)) for name, value in env.items()})
    assert said == f"Invalid value for {place.replace('FILE', str(file))}: 'x' is no number from 0 to 99"


def test_what_a_command_was_given_can_be_read_again(file: Path) -> None:
    file.write_text("grace = 5\n")
    found: list[Any] = []

    def then(reread: Any) -> None:
        file.write_text("grace = 6\nname = 'new'\n")
        found.append(reread())
        file.write_text("grace = 'x'\n")
        with pytest.raises(StoreError, match=r"grace in .*gateway\.toml: 'x' is no number"):
            reread()

    run("--config", str(file), "--flag", then=then)
    assert found[0] == {"grace": 6.0, "name": "new", "more": (), "flag": True, "port": 1, "config": str(file)}
