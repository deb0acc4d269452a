from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from oo._commands._audit_options import audit_options, audit_settings
from oo.gateway.audit_log import AuditSettings


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), AuditSettings()),
        (("--audit", "-"), AuditSettings("-")),
        (("--audit", "/var/log/oo", "--audit-required"), AuditSettings("/var/log/oo", required=True)),
        (
            ("--trust-proxy", "10.0.0.1", "--trust-proxy", "fd00::/8"),
            AuditSettings(proxies=("10.0.0.1", "fd00::/8")),
        ),
    ],
)
def test_a_command_gets_the_settings_of_the_audit(options: tuple[str, ...], settings: AuditSettings) -> None:
    got: list[Any] = []

    @click.command()
    @click.option("--other", default="kept")
    @audit_options
    def command(other: str, **options: Any) -> None:
        got.extend((audit_settings(**options), other))

    done = CliRunner().invoke(command, options)
    assert (done.exit_code, got) == (0, [settings, "kept"]), done.output
