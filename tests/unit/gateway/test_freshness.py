from __future__ import annotations

import itertools

import pytest

from oo.gateway import freshness
from oo.gateway.freshness import ReadCache


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is asked for at each read, however quick they follow."""
    monkeypatch.setattr(freshness, "_FRESH", -1.0)


def test_a_value_is_kept_until_the_version_changes() -> None:
    versions, count = iter([1, 1, 2, 2]), itertools.count()
    cache = ReadCache(lambda: next(versions))
    assert [cache.get("key", lambda: next(count)) for _ in range(4)] == [0, 0, 1, 1]


def test_every_key_is_forgotten_when_the_version_changes() -> None:
    versions, count = iter([1, 1, 2, 2]), itertools.count()
    cache = ReadCache(lambda: next(versions))
    assert [cache.get(key, lambda: next(count)) for key in ("a", "b", "b", "a")] == [0, 1, 2, 3]


def test_a_missing_thing_is_not_kept() -> None:
    found = iter([None, None, "there", "not read"])
    cache = ReadCache(lambda: 1)
    assert [cache.get("key", lambda: next(found)) for _ in range(4)] == [None, None, "there", "there"]
    assert next(found) == "not read"


def test_a_failed_read_is_not_kept() -> None:
    def fails() -> str:
        raise ZeroDivisionError

    cache = ReadCache(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", fails)
    assert cache.get("key", lambda: "read") == "read"


def test_nothing_that_is_kept_is_given_while_the_version_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def version() -> int:
        if broken:
            raise ZeroDivisionError
        return 1

    broken = False
    cache = ReadCache(version)
    assert cache.get("key", lambda: "read") == "read"
    monkeypatch.setattr(freshness, "_FRESH", 3600.0)
    cache.expire()
    broken = True
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get("key", lambda: "again")
    broken = False
    assert cache.get("key", lambda: "again") == "read"


def test_the_version_is_asked_again_after_a_while_or_once_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_FRESH", 3600.0)
    asked = itertools.count()
    cache = ReadCache(lambda: next(asked))
    count = itertools.count()
    assert [cache.get("key", lambda: next(count)) for _ in range(3)] == [0, 0, 0]
    cache.expire()
    assert [cache.get("key", lambda: next(count)) for _ in range(3)] == [1, 1, 1]
    assert next(asked) == 2
