"""Callers and servers see what they saw before: the names, the signatures, and every byte on the wire."""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import golden

GOLDEN: dict[str, Any] = json.loads((Path(golden.__file__).parent / "golden.json").read_text("utf-8"))
WORLDS = ("blocking", "asyncio")

client_bytes = cache(golden.client_bytes)
gateway_bytes = cache(golden.gateway_bytes)
signatures = cache(golden.signatures)


@pytest.mark.parametrize("module", golden.MODULES)
def test_every_public_name_is_still_there(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in GOLDEN["names"][module] if not hasattr(loaded, name)] == []


def test_the_package_lists_every_name_it_listed() -> None:
    import oo

    assert set(GOLDEN["names"]["oo"]) <= set(dir(oo))


def breaks(before: list[list[str]], after: list[list[str]]) -> list[list[str]]:
    """What of a signature's parameters a caller would miss or trip over: one that is gone or moved or has another kind
    or default, and a new one that must be given or comes before what was there."""
    known = {name for name, _, _ in before}
    added = [each for each in after if each[0] not in known]
    placed = [each for each in before if each[1] != "KEYWORD_ONLY"]
    if placed != [each for each in after if each[1] != "KEYWORD_ONLY"][: len(placed)]:
        return before
    missing = [each for each in before if each not in after]
    return missing + [each for each in added if not each[2]]


@pytest.mark.parametrize("path", sorted(GOLDEN["signatures"].keys() - golden.EXCEPTED))
def test_every_call_that_was_right_is_still(path: str) -> None:
    after = [list(each) for each in signatures()[path]]
    assert breaks(GOLDEN["signatures"][path], after) == []


A, B = ["a", "POSITIONAL_OR_KEYWORD", ""], ["b", "POSITIONAL_OR_KEYWORD", "1"]
KEY = ["key", "KEYWORD_ONLY", "None"]


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        ([A, B], False),
        ([A, B, KEY], False),
        ([A], True),
        ([B, A], True),
        ([A, B, ["c", "POSITIONAL_OR_KEYWORD", "2"]], False),
        ([A, B, ["c", "POSITIONAL_OR_KEYWORD", ""]], True),
        ([A, ["c", "POSITIONAL_OR_KEYWORD", "2"], B], True),
        ([A, ["b", "POSITIONAL_OR_KEYWORD", "2"]], True),
        ([A, ["b", "KEYWORD_ONLY", "1"]], True),
        ([A, B, ["key", "KEYWORD_ONLY", ""]], True),
    ],
)
def test_a_signature_that_breaks_a_caller_is_told_from_one_that_does_not(after: Any, broken: bool) -> None:
    assert bool(breaks([A, B], after)) is broken


@pytest.mark.parametrize("call", golden.CALLS)
@pytest.mark.parametrize("kind", WORLDS)
def test_a_client_sends_the_same_bytes(kind: str, call: str) -> None:
    assert client_bytes(kind == "blocking")[call] == GOLDEN[kind][call]


@pytest.mark.parametrize("request_", golden.ANSWERS)
def test_the_gateway_answers_and_passes_on_the_same_bytes(request_: str) -> None:
    assert gateway_bytes()[request_] == GOLDEN["gateway"][request_]


def test_the_record_holds_enough() -> None:
    for kind in WORLDS:
        assert len(GOLDEN[kind]) >= 20
        assert all(GOLDEN[kind].values())
        # The key that makes a repeat safe is the same on every attempt.
        assert len(set(GOLDEN[kind]["proxy, retried"])) == 1 < len(GOLDEN[kind]["proxy, retried"])
    assert len(GOLDEN["gateway"]) >= 10
