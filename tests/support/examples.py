"""How many examples a property test takes: few in a plain run, more with `OO_EXAMPLES=10000 pytest tests/...`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = settings(
    max_examples=int(os.environ.get("OO_EXAMPLES", "100")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
