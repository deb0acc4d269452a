from __future__ import annotations

import json

from tests.support.command import Inside, refused


def test_the_keys_are_shown_and_rotated(vault: Inside, inside: Inside) -> None:
    [first] = json.loads(vault("ca", "show", "--json").stdout)
    assert (first["state"], first["name"].startswith("Double-O ")) == ("current", True)
    assert vault("ca", "rotate").stdout.startswith("ca: a new key signs from ")
    again, following = json.loads(vault("ca", "show", "--json").stdout)
    assert (again, following["state"]) == (first, "next")
    assert following["name"] != first["name"]
    assert "there already" in refused(inside("ca", "rotate"))
    assert "signs at once" in vault("ca", "rotate", "--now").stdout
    [alone] = json.loads(vault("ca", "show", "--json").stdout)
    assert alone["name"] not in (first["name"], following["name"])


def test_its_certificates_are_printed_for_some_routes(vault: Inside, inside: Inside) -> None:
    vault("route", "set", "a", "--upstream", "https://a.test")
    assert vault("ca", "show", "--route", "a").stdout.startswith("-----BEGIN CERTIFICATE-----")
    assert "no route 'b'" in refused(inside("ca", "show", "--route", "b"))
