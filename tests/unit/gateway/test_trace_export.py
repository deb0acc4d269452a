from __future__ import annotations

import subprocess
import sys

import pytest

from oo.gateway import trace_export
from oo.gateway.errors import StoreError
from tests.support.waiting import PATIENCE

STARTED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from oo.gateway import trace_export
trace_export.start()()
first = trace.get_tracer_provider()
print(first.resource.attributes["service.name"])
trace_export.start()()
print(trace.get_tracer_provider() is first)
"""


@pytest.mark.parametrize(("name", "shown"), [("", "double-o"), ("mine", "mine")])
def test_what_a_plugin_has_seen_to_is_left_alone_and_a_name_is_kept(name: str, shown: str) -> None:
    env = {"OTEL_SERVICE_NAME": name, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", STARTED], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout.split()) == (0, [shown, "True"]), done.stderr


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(StoreError, match="pip install opentelemetry-sdk"):
        trace_export.check()
