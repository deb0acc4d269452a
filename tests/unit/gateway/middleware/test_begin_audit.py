from __future__ import annotations

import pytest

from oo.gateway.errors import AuditFailed
from oo.gateway.middleware.begin_audit import BeginAudit
from tests.support.calls import call, through
from tests.support.stores import Notes


async def test_a_line_is_written_before_the_call_goes_on() -> None:
    notes, request = Notes(), call()
    _, sent = await through(BeginAudit(notes), request)
    assert notes.begun == [request.context.id]
    assert len(sent) == 1


async def test_a_call_whose_line_must_be_written_and_cannot_be_goes_no_further() -> None:
    notes = Notes(refusing=AuditFailed())
    transport_saw: list[object] = []
    with pytest.raises(AuditFailed):
        _, transport_saw[:] = await through(BeginAudit(notes), call())
    assert transport_saw == []


@pytest.mark.parametrize(("audit", "endpoint"), [(True, "health"), (False, "proxy")])
async def test_health_has_no_line_and_no_audit_is_none(audit: bool, endpoint: str) -> None:
    notes = Notes()
    await through(BeginAudit(notes if audit else None), call(endpoint=endpoint))
    assert notes.begun == []
