"""`oo plugins`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import Inside, Process
from tests.support.terminal import Terminal


class Timer:
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request)


class Plugin:
    """Puts a Timer into a slot of the chains of one role."""

    def __init__(self, role: str, slot: oo.Slot) -> None:
        self._role = role
        self._slot = slot

    @oo.hookimpl
    def oo_middleware(self, client: oo.hooks.ClientInfo) -> list[tuple[oo.Slot, Timer]]:
        return [(self._slot, Timer())] if client.role == self._role else []


def test_plugins_lists_them_and_the_chain(inside: Inside) -> None:
    oo.register(Plugin("blocking", oo.Slot.ATTEMPT), "timer")
    try:
        found = json.loads(inside("plugins", "--json").stdout)
        text = inside("plugins").stdout
    finally:
        oo.unregister("timer")
    assert found["plugins"] == [{"plugin": "timer", "distribution": ""}]
    names = [name.rpartition(".")[2] for name in found["chain"]]
    assert names == ["Cache", "Retry", "Timer", "ErrorMapping", "BearerAuth"]
    assert text == f"timer\t\n{' -> '.join(found['chain'])}\n"


def test_a_plugin_that_breaks_is_one_line_beside_the_list(process: Process, tmp_path: Path) -> None:
    about = tmp_path / "oo_broken-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: oo-broken\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[oo]\nbroken = no_such_module\n")
    done = process("plugins", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "oo.middleware" in done.stdout
    assert done.stderr.startswith("oo: plugin broken of distribution oo-broken is left out")
    assert done.stderr.count("\n") == 1
    assert process("plugins", PYTHONPATH=str(tmp_path), OO_PLUGINS="off").stderr == ""


@pytest.mark.parametrize("options", [("b,a",), ("b", "a"), ("b", ",a ,")])
def test_plugins_may_be_named_at_once_or_one_by_one(inside: Inside, options: tuple[str, ...]) -> None:
    for name in ("a", "b"):
        oo.register(Plugin("gateway", oo.Slot.CALL), name)
    try:
        named = [word for each in options for word in ("--plugins", each)]
        found = json.loads(inside("plugins", "--gateway", *named, "--json").stdout)
    finally:
        for name in ("a", "b"):
            oo.unregister(name)
    assert [each["plugin"] for each in found["plugins"]] == ["a", "b"]


def test_plugins_shows_a_gateways_chain_with_those_that_are_named(inside: Inside) -> None:
    oo.register(Plugin("gateway", oo.Slot.WIRE), "timer")
    try:
        with_it = json.loads(inside("plugins", "--gateway", "--plugins", "timer", "--json").stdout)
        without = json.loads(inside("plugins", "--gateway", "--json").stdout)
    finally:
        oo.unregister("timer")
    assert (with_it["plugins"], without["plugins"]) == ([{"plugin": "timer", "distribution": ""}], [])
    assert with_it["chain"][:-1] == without["chain"]
    assert with_it["chain"][-1].endswith("Timer")
    assert without["credentials"] == with_it["credentials"]
    assert without["credentials"][:4] == ["header", "query", "basic", "path"]
    assert without["chain"][0] == "oo.gateway.middleware.audit.WriteAudit"


def test_the_chain_is_no_wider_than_the_terminal(inside: Inside) -> None:
    whole = inside("plugins", "--gateway").stdout.splitlines()[0]
    with Terminal("plugins", "--gateway", columns=80) as terminal:
        assert terminal.end() == 0
    lines = terminal.shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert whole in " ".join(line.strip() for line in lines)
