"""GatewayContext: what a middleware of the gateway reaches from the Request, and what it refuses elsewhere."""

from __future__ import annotations

import pytest

from oo._http.request import Request
from oo.gateway.context import GatewayContext, gateway_context, of_route
from oo.gateway.models import Route


def test_the_context_and_its_route_are_reached_from_any_copy_of_the_request() -> None:
    context = GatewayContext()
    context.route = Route("r", "http://x.example")
    request = Request("GET", "http://x.example/", context=context).with_header("X-A", "1")
    assert gateway_context(request) is context
    assert of_route(request) is context.route


def test_a_call_that_is_not_the_gateways_is_a_bug_that_is_named() -> None:
    with pytest.raises(TypeError, match="no route"):
        of_route(Request("GET", "http://x.example/", context=GatewayContext()))


def test_a_plugin_has_the_settings_of_its_route_once_that_is_known() -> None:
    context = GatewayContext()
    assert context.settings("timer") == {}
    context.route = Route("r", "http://x.example", settings={"timer": {"unit": "ms"}})
    assert (context.settings("timer"), context.settings("other")) == ({"unit": "ms"}, {})


def test_its_repr_shows_nothing_that_was_hidden() -> None:
    context = GatewayContext()
    context.hidden = {"the-real-key"}
    assert "the-real-key" not in repr(context)
