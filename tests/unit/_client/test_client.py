"""The two clients: their arguments, and their life from `with` to `close`."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from tests.support.faults import SECRET, serving
from tests.support.waiting import PATIENCE
from tests.support.worlds import Calls, World

TOKEN = "a-token-for-clients"
URL = "http://localhost:3001"
NO_NUMBERS: list[Any] = [-1, float("nan"), float("inf"), float("-inf"), True, "5", b"5", [], {}, 1j, decimal.Decimal(5)]


def refused(make: Callable[[], Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        make()


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 0.0, -0.5, 1e300, 10**400], ids=lambda value: repr(value)[:9])
def test_what_is_no_positive_number_of_seconds_is_refused(world: World, value: Any) -> None:
    transport = MockTransport([])
    for name in ("timeout", "deadline"):
        refused(lambda name=name: world.client(URL, transport=transport, **{name: value}), name)


def test_a_timeout_must_be_given_a_deadline_need_not(world: World) -> None:
    refused(lambda: world.client(URL, timeout=None, transport=MockTransport([])), "timeout")
    world.client(URL, deadline=None, transport=MockTransport([]))


@pytest.mark.parametrize("seconds", [10**9, 1e9, 5, 1.5])
def test_any_time_that_is_taken_can_be_waited(world: World, seconds: Any) -> None:
    with serving() as server:
        client = world.client(server.url, timeout=seconds, deadline=seconds, cache=oo.SecretCache())
        assert client.get_secret(TOKEN) == SECRET
        assert world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * 5) == [SECRET] * 5


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.5, None], ids=lambda value: repr(value)[:9])
def test_what_is_no_number_of_retries_is_refused(world: World, value: Any) -> None:
    refused(lambda: world.client(URL, retries=value, transport=MockTransport([])), "retries")
    refused(lambda: oo.Retry(value), "retries")
    refused(lambda: oo.default_middleware(retries=value), "retries")


@pytest.mark.parametrize("value", [*NO_NUMBERS, None, 10**400], ids=lambda value: repr(value)[:9])
def test_what_is_no_factor_is_refused(world: World, value: Any) -> None:
    refused(lambda: world.client(URL, backoff_factor=value, transport=MockTransport([])), "backoff_factor")
    refused(lambda: oo.default_middleware(backoff_factor=value), "backoff_factor")
    for name in ("backoff_factor", "max_wait", "jitter"):
        refused(lambda name=name: oo.Retry(**{name: value}), name)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 1.5, None], ids=lambda value: repr(value)[:9])
def test_what_is_no_number_of_bytes_is_refused(world: World, value: Any) -> None:
    refused(lambda: world.client(URL, max_response_bytes=value, transport=MockTransport([])), "max_response_bytes")


def test_the_first_four_arguments_have_an_order(world: World) -> None:
    client = world.client(URL + "/", 7, 2, 0.25, transport=MockTransport([]))
    assert (client.base_url, client.timeout, client.retries, client.backoff_factor) == (URL, 7, 2, 0.25)
    for made in (world.client(transport=MockTransport([])), world.client(None, transport=MockTransport([]))):
        assert (made.base_url, made.timeout, made.retries, made.backoff_factor) == ("http://127.0.0.1:3001", 30, 0, 0.5)
    with pytest.raises(TypeError, match="positional"):
        world.client(URL, 7, 2, 0.25, 60)


def test_an_argument_that_is_none_is_an_error_that_names_the_client(world: World) -> None:
    name = "Client" if world.blocking else "AsyncClient"
    with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'retrys'"):
        world.client(URL, retrys=3)


def test_a_subclass_of_a_client_is_made_by_whom_its_bases_say() -> None:
    class Stamped:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.stamp = "blue"

    class Own(Stamped, oo.Client):
        pass

    with Own(URL, transport=MockTransport([])) as client:
        assert (client.stamp, client.base_url) == ("blue", URL)


def test_a_timeout_and_a_deadline_reach_each_request(world: World) -> None:
    transport = MockTransport(lambda _request: {"value": "v", "secrets": {}}, io=world.clock())
    client = world.client(URL, 7, deadline=60, transport=transport)
    client.get_secret(TOKEN), client.get_env(TOKEN), client.proxy("v1/x", TOKEN), client.health()
    assert [(request.timeout, request.deadline) for request in transport.requests] == [(7, 60.0)] * 4


SENDING: dict[str, Callable[..., Any]] = {
    "get_secret": lambda client, _path, **limits: client.get_secret(TOKEN, **limits),
    "get_env": lambda client, _path, **limits: client.get_env(TOKEN, **limits),
    "load_env": lambda client, _path, **limits: client.load_env(TOKEN, **limits),
    "export_env": lambda client, path, **limits: client.export_env(TOKEN, path, **limits),
    "proxy": lambda client, _path, **limits: client.proxy("v1/x", TOKEN, **limits),
    "send": lambda client, _path, **limits: client.send("v1/x", TOKEN, **limits),
    "stream": lambda client, _path, **limits: opened(client, client.stream("v1/x", TOKEN, **limits)),
    "chat_completion": lambda client, _path, **limits: client.chat_completion(TOKEN, [], **limits),
    "embed": lambda client, _path, **limits: client.embed(TOKEN, [], **limits),
    "image": lambda client, _path, **limits: client.image(TOKEN, "a cat", **limits),
    "health": lambda client, _path, **limits: client.health(**limits),
}
LOCAL = {"with_options", "invalidate_cache", "close"}  # methods that send nothing


def opened(client: Any, stream: Any) -> None:
    """Enter a stream, and leave it."""
    client.world.run(lambda: getattr(stream, "__enter__" if client.world.blocking else "__aenter__")())
    client.world.run(stream.close)


@pytest.mark.parametrize("name", SENDING)
def test_each_call_takes_limits_of_its_own(world: World, name: str, tmp_path: Path) -> None:
    transport = MockTransport(lambda _request: {"value": "v", "secrets": {}}, io=world.clock())
    SENDING[name](world.client(URL, transport=transport), tmp_path / ".env", timeout=5, deadline=9)
    assert [(request.timeout, request.deadline) for request in transport.requests] == [(5, 9.0)]


def test_no_call_is_left_out() -> None:
    assert {name for name in dir(oo.Client) if not name.startswith("_")} == SENDING.keys() | LOCAL


@pytest.mark.parametrize(
    "setting", [{"retries": 1}, {"backoff_factor": 1}, {"logging": True}, {"cache": oo.SecretCache()}], ids=str
)
def test_what_shapes_the_default_chain_does_not_go_with_another(world: World, setting: Any) -> None:
    with pytest.raises(ValueError, match="default_middleware"):
        world.client(URL, middleware=[], transport=MockTransport([]), **setting)


CALLS: dict[str, tuple[type[oo.DoubleOError], Callable[[Any], Any]]] = {
    "secret": (oo.SecretError, lambda client: client.get_secret(TOKEN)),
    "a cached secret": (oo.SecretError, lambda client: client.get_secret(TOKEN, 60)),
    "env": (oo.EnvError, lambda client: client.get_env(TOKEN)),
    "a cached env": (oo.EnvError, lambda client: client.get_env(TOKEN, 60)),
    "load_env": (oo.EnvError, lambda client: client.load_env(TOKEN)),
    "export_env": (oo.EnvError, lambda client: client.export_env(TOKEN, "/nowhere/.env")),
    "proxy": (oo.ProxyError, lambda client: client.proxy("v1/x", TOKEN)),
    "send": (oo.ProxyError, lambda client: client.send("v1/x", TOKEN)),
    "chat": (oo.ProxyError, lambda client: client.chat_completion(TOKEN, [])),
    "a streamed chat": (oo.ProxyError, lambda client: client.chat_completion(TOKEN, [], stream=True)),
    "embed": (oo.ProxyError, lambda client: client.embed(TOKEN, [])),
    "image": (oo.ProxyError, lambda client: client.image(TOKEN, "")),
    "health": (oo.ProxyError, lambda client: client.health()),
}


@pytest.mark.parametrize(("kind", "call"), CALLS.values(), ids=CALLS)
def test_a_call_of_a_closed_client_is_its_own_error(
    world: World, kind: type[oo.DoubleOError], call: Callable[[Any], Any]
) -> None:
    transport = MockTransport(lambda _request: {"value": "v", "secrets": {}})
    client = world.client(URL, transport=transport, cache=oo.SecretCache())
    client.get_secret(TOKEN, 60), client.get_env(TOKEN, 60)
    client.close()
    with pytest.raises(oo.DoubleOError, match="closed") as caught:
        call(client)
    assert (type(caught.value), caught.value.reason, caught.value.retryable) == (kind, "closed", False)
    assert len(transport.requests) == 2


def test_a_stream_of_a_closed_client_is_an_error_when_it_is_opened(world: World) -> None:
    transport = MockTransport([])
    client = world.client(URL, transport=transport)
    stream = client.stream("v1/x", TOKEN)
    client.close()
    with pytest.raises(oo.ProxyError) as caught:
        world.run(stream.__enter__ if world.blocking else stream.__aenter__)
    assert caught.value.reason == "closed"
    assert transport.requests == []


class Counting(MockTransport):
    closes = 0

    async def close(self) -> None:
        self.closes += 1


def within(world: World, client: Calls, body: Callable[[], Any]) -> None:
    """`body` in a `with` or an `async with` over the client."""
    if world.blocking:
        with client.client as entered:
            assert entered is client.client
            body()
        return

    async def block() -> None:
        async with client.client as entered:
            assert entered is client.client
            await body()

    world.run(block)


def test_a_block_closes_its_client_once(world: World) -> None:
    transport = Counting([{"value": "v"}])
    client = world.client(URL, transport=transport)
    within(world, client, lambda: client.client.get_secret(TOKEN))
    assert transport.closes == 1
    client.close()
    client.close()
    assert (transport.closes, len(transport.requests)) == (1, 1)


def test_an_error_leaves_a_block_as_it_is_and_closes_the_client(world: World) -> None:
    transport = Counting([503])
    client = world.client(URL, transport=transport)
    with pytest.raises(oo.SecretError) as caught:
        within(world, client, lambda: client.client.get_secret(TOKEN))
    assert (caught.value.status, transport.closes) == (503, 1)


def test_a_closed_client_of_real_connections_stays_closed(world: World) -> None:
    with serving() as server:
        client = world.client(server.url, timeout=PATIENCE)
        assert client.get_secret(TOKEN) == SECRET
        client.close()
        client.close()
        assert server.until(left=1)
        with pytest.raises(oo.SecretError, match="closed"):
            client.get_secret(TOKEN)
        assert (server.connections, len(server.requests)) == (1, 1)


def test_closing_one_client_leaves_another_open(world: World) -> None:
    transport = MockTransport(lambda _request: {"value": "v"})
    one, two = (world.client(URL, transport=transport) for _ in range(2))
    assert one.get_secret(TOKEN, 60) == "v"
    one.close()
    assert [two.get_secret(TOKEN, 60), two.get_secret(TOKEN)] == ["v", "v"]
    assert len(transport.requests) == 2


def test_a_token_is_forgotten_whatever_server_answered_it_and_no_other_token_is(world: World) -> None:
    transport = MockTransport(lambda _request: {"value": "v", "secrets": {}})
    one, two = (world.client(URL + place, transport=transport) for place in ("", "/two"))
    calls = [(client, token) for client in (one, two) for token in (TOKEN, TOKEN + "-2")]

    def fetched() -> list[tuple[Any, str]]:
        """The calls that had to be made."""
        made = []
        for client, token in calls:
            before = len(transport.requests)
            client.get_secret(token, 60), client.get_env(token, 60)
            made += [(client, token)] * (len(transport.requests) > before)
        return made

    assert (fetched(), fetched()) == (calls, [])
    one.invalidate_cache(TOKEN)
    assert fetched() == [(one, TOKEN), (two, TOKEN)]
    one.invalidate_cache("a-token-that-nobody-used")
    assert fetched() == []
    two.invalidate_cache()
    assert fetched() == calls


def test_a_store_of_ones_own_is_not_the_shared_one(world: World) -> None:
    transport = MockTransport(lambda _request: {"value": "v"})
    shared, own = world.client(URL, transport=transport), world.client(URL, transport=transport, cache=oo.SecretCache())
    for client in (shared, own, shared, own):
        client.get_secret(TOKEN, 60)
    assert len(transport.requests) == 2
    own.invalidate_cache()
    shared.get_secret(TOKEN, 60)
    assert len(transport.requests) == 2
    oo.invalidate_cache()
    own.get_secret(TOKEN, 60)
    assert len(transport.requests) == 3


def test_a_repr_names_the_server_and_nothing_else(world: World) -> None:
    client = world.client(URL, transport=MockTransport([]))
    assert repr(client.client) == f"<{'Client' if world.blocking else 'AsyncClient'} {URL}>"
