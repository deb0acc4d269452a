"""Headers: a mapping that keeps what was written, and the grammar of a field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo import Headers
from tests.support.examples import EXAMPLES

NAMES = st.sampled_from(["A", "a", "B", "b", "X-A", "x-a", "X-a", "\u00c9"])
PAIRS = st.lists(st.tuples(NAMES, st.text("abc, \t", max_size=3)))


@EXAMPLES
@given(PAIRS, NAMES, st.text("abc", max_size=3))
def test_headers_against_a_model(pairs: list[tuple[str, str]], name: str, value: str) -> None:
    model: dict[str, list[str]] = {}
    for field, each in pairs:
        model.setdefault(field.lower(), []).append(each)
    headers = Headers(iter(pairs))
    assert headers.pairs() == tuple(pairs)
    assert (list(headers), len(headers)) == (list(model), len(model))
    assert dict(headers) == {field: ", ".join(values) for field, values in model.items()}
    for spelling in (name, name.lower(), name.upper()):
        assert headers.get_all(spelling) == model.get(name.lower(), [])
        assert (spelling in headers) == (name.lower() in model)
        assert headers.get(spelling) == (", ".join(model[name.lower()]) if name.lower() in model else None)
    others = tuple(pair for pair in pairs if pair[0].lower() != name.lower())
    assert headers.replace(name, value).pairs() == (*others, (name, value))
    assert headers.pairs() == tuple(pairs)


def test_headers_are_a_mapping_that_cannot_be_changed() -> None:
    headers = Headers({"Content-Type": "text/plain"})
    assert headers["CONTENT-TYPE"] == "text/plain"
    assert Headers() == Headers([]) == {}
    with pytest.raises(KeyError):
        _ = headers["Content"]
    with pytest.raises(TypeError):
        headers["A"] = "b"  # type: ignore[index]  # that is the point
    assert Headers(headers).pairs() == (("content-type", "text/plain"),)
