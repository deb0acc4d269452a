"""What options are turned into."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from oo._commands._values import Number, WholeNumber
from tests.support.command import CANARY, Inside, environment_of, refused, value_of


@pytest.mark.parametrize(
    "data",
    [codecs.BOM_UTF8 + CANARY.encode(), codecs.BOM_UTF16_LE + CANARY.encode("utf-16-le") + "\r\n".encode("utf-16-le")],
    ids=["UTF-8", "UTF-16"],
)
def test_a_mark_of_byte_order_is_no_part_of_a_secret(data: bytes, vault: Inside, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(data)
    vault("secret", "set", "file", "--from-file", str(tmp_path / "value"))
    vault("secret", "set", "pipe", "--from-file", "-", input=data)
    assert (value_of("file"), value_of("pipe")) == (CANARY, CANARY)


def test_a_mark_of_byte_order_is_no_part_of_a_variable(vault: Inside, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(codecs.BOM_UTF8 + b"A=1\n")
    vault("env", "set", "web", "--from-file", str(tmp_path / ".env"))
    assert environment_of("web") == {"A": "1"}


def test_a_tilde_is_ones_home(vault: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "value").write_text(CANARY)
    vault("secret", "set", "key", "--from-file=~/value")
    assert value_of("key") == CANARY


@pytest.mark.parametrize(
    "command", ["secret set key --from-file -", "env set web --from-file -", "proxy x -d @-", "chat -"]
)
def test_a_standard_input_that_is_closed_is_one_line(command: str, vault: Inside) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m oo {command} <&-'],
        capture_output=True,
        text=True,
        env={**os.environ, "OO_TOKEN": "a-token"},
    )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("oo: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_is_no_file(vault: Inside, inside: Inside, tmp_path: Path) -> None:
    assert "Is a directory" in refused(inside("secret", "set", "key", "--from-file", str(tmp_path)), 2)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (WholeNumber(1, 64), "2.5", "'2.5' is no whole number from 1 to 64"),
        (WholeNumber(1, 64), "65", "'65' is no whole number from 1 to 64"),
        (Number(0, 5), "abc", "'abc' is no number from 0 to 5"),
        (Number(0, 5), "nan", "'nan' is no number from 0 to 5"),
        (Number(0, min_open=True), "0", "'0' is no number above 0"),
    ],
)
def test_what_is_no_number_is_told_which_are(kind: click.ParamType, text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        kind.convert(text, None, None)
    assert refused.value.message == said


def test_a_number_is_what_it_is() -> None:
    assert (WholeNumber(1, 64).convert("64", None, None), Number(0, 5).convert("0.5", None, None)) == (64, 0.5)
