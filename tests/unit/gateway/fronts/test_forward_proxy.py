from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import BaseRequest
from multidict import CIMultiDict

from oo.gateway.context import GatewayContext
from oo.gateway.destinations import Destination
from oo.gateway.fronts.forward_proxy import own_target

SHOWN = [("Proxy-Authorization", "Bearer t")]
WITHIN = Destination("https", "a.test", 443, ("t",), True)


def received(target: str, fields: Sequence[tuple[str, str]] = (), method: str = "GET") -> BaseRequest:
    """A request as aiohttp gives it."""
    return make_mocked_request(method, target, headers=CIMultiDict(fields))


@pytest.mark.parametrize(
    ("target", "fields", "own", "destination"),
    [
        ("/x?y", [], "/x?y", None),
        ("/x?y", SHOWN, "/x?y", None),
        ("http://a.test/x?y", SHOWN, "/api/proxy/x?y", Destination("http", "a.test", 80, ("t",))),
        ("http://a.test:81", SHOWN, "/api/proxy/", Destination("http", "a.test", 81, ("t",))),
        ("http://a.test/x", [], "/api/proxy/x", Destination("http", "a.test", 80, ())),
        ("http://gateway/health", [], "/health", None),
        ("http://gateway/api/proxy/x", [], "/api/proxy/x", None),
    ],
)
def test_where_a_request_goes(
    target: str, fields: list[tuple[str, str]], own: str, destination: Destination | None
) -> None:
    context = GatewayContext()
    assert own_target(received(target, fields), context) == own
    assert (context.destination, context.malformed) == (destination, None)


def test_an_https_url_is_for_a_tunnel() -> None:
    context = GatewayContext()
    own_target(received("https://a.test/x", SHOWN), context)
    assert context.malformed == "an https URL is asked for through a tunnel, by CONNECT"


@pytest.mark.parametrize(
    ("target", "host", "own", "status"),
    [
        ("/x", "a.test", "/api/proxy/x", None),
        ("/", "A.TEST:443", "/api/proxy/", None),
        ("//x", "a.test", "/api/proxy//x", None),
        ("/x", None, "/api/proxy/x", None),
        ("https://a.test/x", "b.test", "/api/proxy/x", None),
        ("/x", "b.test", "/api/proxy/x", 421),
        ("/x", "a.test:80", "/api/proxy/x", 421),
        ("/x", "a b", "/api/proxy/x", 421),
        ("http://a.test/x", "a.test", "/api/proxy/x", 421),
        ("*", "a.test", "/api/proxy/*", 400),
    ],
)
def test_within_a_tunnel(target: str, host: str | None, own: str, status: int | None) -> None:
    context = GatewayContext()
    context.destination = WITHIN
    assert own_target(received(target, [] if host is None else [("Host", host)]), context) == own
    assert (context.malformed_status if context.malformed else None) == status
