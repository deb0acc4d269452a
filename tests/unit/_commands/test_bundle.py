from __future__ import annotations

import json

import pytest

from tests.support.command import Inside, refused


@pytest.fixture
def routes(vault: Inside) -> Inside:
    for name in ("a", "b"):
        vault("route", "set", name, "--upstream", f"https://{name}.test")
    return vault


def test_a_bundle_is_kept_listed_and_forgotten(routes: Inside) -> None:
    assert (
        routes("bundle", "set", "agent", "--route", "b", "--route", "a", "--route", "b").stdout
        == "bundle agent: b, a\n"
    )
    assert json.loads(routes("bundle", "list", "--json").stdout) == [{"name": "agent", "routes": ["b", "a"]}]
    assert routes("bundle", "list").stdout == "agent\tb, a\n"
    routes("token", "issue", "--bundle", "agent")
    assert "bundle agent" in routes("token", "list").stdout or "bundle\tagent" in routes("token", "list").stdout
    assert "bundles\t1" in routes("store", "status").stdout
    routes("bundle", "rm", "agent")
    assert routes("bundle", "list").stdout == ""
    assert "revoked" in routes("token", "list").stdout


def test_its_routes_are_there_and_stay(routes: Inside, inside: Inside) -> None:
    assert "no route 'c'" in refused(inside("bundle", "set", "agent", "--route", "c"))
    assert "--route" in refused(inside("bundle", "set", "agent"), 2)
    assert "no name" in refused(inside("bundle", "set", "a/b", "--route", "a"))
    routes("bundle", "set", "agent", "--route", "a")
    assert "needed by the bundle 'agent'" in refused(inside("route", "rm", "a"))
    assert "no bundle 'x'" in refused(inside("bundle", "rm", "x"))
    routes("bundle", "rm", "agent")
    routes("route", "rm", "a")
