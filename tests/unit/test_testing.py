"""The test tools say what is wrong with a script."""

from __future__ import annotations

import pytest

from oo.testing import MockTransport, Streamed
from tests.support.worlds import World

TOKEN = "any-token"


def test_a_script_that_runs_out_says_so(world: World) -> None:
    client = world.client(transport=MockTransport([{"value": "one"}]))
    assert client.get_secret(TOKEN) == "one"
    with pytest.raises(AssertionError, match="no answer number 2"):
        client.get_secret(TOKEN)


def test_an_exception_in_a_script_is_raised_as_it_is(world: World) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        world.client(transport=MockTransport([error])).get_secret(TOKEN)
    assert caught.value is error


def test_a_streamed_answer_is_read_whole_by_a_call(world: World) -> None:
    client = world.client(transport=MockTransport([Streamed([b'{"a"', b": 1}"])]))
    assert client.proxy("x", TOKEN) == {"a": 1}
