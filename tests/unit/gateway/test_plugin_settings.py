from __future__ import annotations

from typing import Any

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Route
from oo.gateway.plugin_settings import listed_settings, merged_settings, parse_settings


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        ([], {}),
        (["timer unit=ms"], {"timer": {"unit": "ms"}}),
        (
            ["timer unit=ms most='two words' empty= sum=1+1=2"],
            {"timer": {"unit": "ms", "most": "two words", "empty": "", "sum": "1+1=2"}},
        ),
        (["a.b-c x=1", "d y=2"], {"a.b-c": {"x": "1"}, "d": {"y": "2"}}),
        (["timer"], {"timer": {}}),
    ],
)
def test_settings_are_given_as_words_and_listed_as_they_were_given(texts: list[str], settings: Any) -> None:
    assert parse_settings(texts) == settings
    assert parse_settings(listed_settings(settings)) == settings


@pytest.mark.parametrize("texts", [[""], ["a 'b=1"], ["a b"], ["a b=1 c"], ["a b=1 b=2"], ["a b=1", "a c=2"]])
def test_what_is_no_setting_is_refused_and_not_said_again(texts: list[str]) -> None:
    with pytest.raises(StoreError) as caught:
        parse_settings(texts)
    assert "b=1" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"": {}}, {"a b": {}}, {"a,b": {}}, {"a": {"": "1"}}, {"a": {"b c": "1"}}, {"a": {"1": "1"}}]
)
def test_a_route_takes_no_name_that_is_none(settings: Any) -> None:
    with pytest.raises(StoreError, match="is no name of"):
        Route("r", "https://x.example", settings=settings)


def test_the_settings_of_a_plugin_are_changed_together() -> None:
    before = {"a": {"x": "1", "y": "2"}, "b": {"z": "3"}}
    assert merged_settings(before, {"a": {"x": "4"}, "b": {}, "c": {}}) == {"a": {"x": "4"}}
