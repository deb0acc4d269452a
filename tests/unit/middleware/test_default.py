"""The default chain, as a list of one's own."""

from __future__ import annotations

import pytest

from oo import middleware
from oo.middleware import Cache, Retry, SecretCache, default_middleware, shared_cache

CHAIN = ["Cache", "Retry", "ErrorMapping", "BearerAuth"]


@pytest.mark.parametrize(("logging", "chain"), [(False, CHAIN), (True, ["Logging", *CHAIN])])
def test_the_chain_is_in_this_order_outermost_first(logging: bool, chain: list[str]) -> None:
    assert [type(each).__name__ for each in default_middleware(logging=logging)] == chain


def test_a_chain_is_its_callers_to_edit() -> None:
    first = default_middleware()
    first.clear()
    assert len(default_middleware()) == len(CHAIN)


def test_chains_share_one_store_unless_they_are_given_another() -> None:
    def store(**settings: SecretCache) -> SecretCache:
        cache = default_middleware(**settings)[0]  # type: ignore[arg-type]  # cache is the one setting here
        assert isinstance(cache, Cache)
        return cache.store

    assert store() is store() is shared_cache()
    own = SecretCache()
    assert store(cache=own) is own is not shared_cache()


def test_the_settings_of_retry_are_passed_on() -> None:
    retry = default_middleware(retries=3, backoff_factor=0.25)[1]
    expected = Retry(3, 0.25)
    assert isinstance(retry, Retry)
    assert (retry.retries, retry.backoff_factor) == (expected.retries, expected.backoff_factor) == (3, 0.25)


def test_every_name_is_there_once_and_sorted() -> None:
    assert middleware.__all__ == sorted(set(middleware.__all__))
    assert all(getattr(middleware, name) is not None for name in middleware.__all__)
