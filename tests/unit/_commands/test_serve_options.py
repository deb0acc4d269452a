from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from oo._commands._audit_options import audit_options
from oo._commands._serve_options import serve_options, settings_of
from oo.gateway.audit_log import AuditSettings
from oo.gateway.serve_settings import ServeSettings


def given(*arguments: str) -> Any:
    """The settings of some arguments, or the line that refuses them."""
    got: list[Any] = []

    @click.command()
    @serve_options
    @audit_options
    def command(**options: Any) -> None:
        got.append((settings_of(plugins=["a"], **options), options["uds_mode"]))

    done = CliRunner().invoke(command, arguments)
    return got[0] if got else done.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((), ServeSettings(plugins=("a",))),
        (
            ("--workers", "2", "--grace", "0.5", "--max-conns", "7", "--access-log", "--log-level", "error"),
            ServeSettings(plugins=("a",), workers=2, grace=0.5, max_conns=7, access_log=True, log_level="error"),
        ),
        (("--reuse-port", "--audit", "-"), ServeSettings(plugins=("a",), shared=True, audit=AuditSettings("-"))),
        (("--reuse-port", "--uds", "/x"), ServeSettings(plugins=("a",))),
        (
            ("--tls-cert", __file__, "--tls-key", __file__, "--log-format", "json"),
            ServeSettings(plugins=("a",), tls=(__file__, __file__), log_format="json"),
        ),
    ],
)
def test_the_options_become_settings(arguments: tuple[str, ...], settings: ServeSettings) -> None:
    assert given(*arguments) == (settings, 0o600)


@pytest.mark.parametrize(("mode", "bits"), [("0660", 0o660), ("600", 0o600), ("0777", 0o777)])
def test_a_mode_is_octal(mode: str, bits: int) -> None:
    assert given("--uds-mode", mode)[1] == bits


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--uds-mode", "rw"), "'rw' is no mode such as 0600"),
        (("--tls-cert", __file__), "go together"),
        (("--grace", "-1"), "-1"),
        (("--max-conns", "0"), "0"),
    ],
)
def test_what_is_no_setting_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in given(*arguments)
