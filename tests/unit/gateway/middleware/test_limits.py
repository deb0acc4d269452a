from __future__ import annotations

import pytest

from oo.gateway.context import gateway_context
from oo.gateway.errors import Unauthorized
from oo.gateway.middleware.limits import Limits
from oo.gateway.models import Denial, Grant, Kind
from tests.support.calls import call, through
from tests.support.stores import LenientStore


class Counting(LenientStore):
    def __init__(self, uses: int) -> None:
        super().__init__()
        self.uses = uses

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:  # type: ignore[override]
        self.uses -= 1
        return Grant("id", kind, "a") if self.uses >= 0 else Denial("used up", "id")


async def test_a_call_pays_one_use() -> None:
    store = Counting(1)
    request = call(kind="route", token="t")
    await through(Limits(store), request)
    assert (store.uses, gateway_context(request).paid) == (0, True)
    request = call(kind="route", token="t", target="a")
    with pytest.raises(Unauthorized) as caught:
        await through(Limits(store), request)
    assert (caught.value.outcome, gateway_context(request).target) == ("used up", None)


@pytest.mark.parametrize("context", [{"kind": "route", "paid": True}, {"endpoint": "health"}])
async def test_what_was_paid_or_needs_no_token_pays_nothing(context: dict[str, object]) -> None:
    store = Counting(0)
    answer, _ = await through(Limits(store), call(**context))  # type: ignore[arg-type]  # of the context alone
    assert (answer.body, store.uses) == (b"end", 0)
