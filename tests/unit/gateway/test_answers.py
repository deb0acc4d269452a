from __future__ import annotations

import oo
from oo.gateway.answers import json_answer


def test_an_answer_is_json_that_nobody_stores() -> None:
    request = oo.Request("GET", "/x")
    answer = json_answer(request, 429, {"error": "ü"}, {"Retry-After": "3"})
    assert (answer.status, answer.json(), answer.request) == (429, {"error": "ü"}, request)
    assert dict(answer.headers.pairs()) == {
        "Retry-After": "3",
        "Server": "double-o",
        "Cache-Control": "no-store",
        "X-OO-Source": "gateway",
        "Content-Type": "application/json",
    }
