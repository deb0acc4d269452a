from __future__ import annotations

from dataclasses import replace

import pytest

from oo.gateway.audit_log import AuditSettings
from oo.gateway.serve_settings import ServeSettings

FULL = ServeSettings(
    tls=("cert.pem", "key.pem"),
    plugins=("a", "b"),
    audit=AuditSettings("-", required=True, proxies=("10.0.0.1",)),
    workers=3,
    grace=1.5,
    max_conns=10,
    shared=True,
    log_format="json",
    log_level="debug",
    access_log=True,
)


@pytest.mark.parametrize("settings", [ServeSettings(), FULL])
def test_a_worker_is_given_the_same_settings(settings: ServeSettings) -> None:
    assert ServeSettings.from_json(settings.to_json()) == settings


def test_how_many_workers_there_are_changes_none_of_them() -> None:
    assert FULL.is_same(replace(FULL, workers=1))
    assert not FULL.is_same(replace(FULL, grace=2))
