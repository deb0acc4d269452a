"""Plugins: what each slot sees, in what order, what is refused, what is left out, and when they are looked for.

Those of entry points are distributions as an installer lays them out, put on the path; test_distribution.py has pip
install some.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import oo
from oo import _plugins
from oo.testing import MockTransport
from tests.support import worlds
from tests.support.fresh import ROOT
from tests.support.waiting import PATIENCE
from tests.support.worlds import World

TOKEN = "a-token-for-plugins"
URL = "http://localhost:3001"


class Offering:
    """A plugin that offers what it is given, and keeps what it was told."""

    def __init__(self, *offers: Any) -> None:
        self.offers = offers
        self.told: list[oo.ClientInfo] = []

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> Any:
        self.told.append(client)
        return self.offers


class Noting:
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        self.notes.append(f"{self.name} {'with' if 'Authorization' in request.headers else 'without'} the header")
        try:
            response = await call_next(request)
        except Exception as error:
            self.notes.append(f"{self.name} {type(error).__name__}")
            raise
        self.notes.append(f"{self.name} {response.status}")
        return response


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of those installed here, and none left behind."""
    monkeypatch.setenv("OO_PLUGINS", "off")
    own = _plugins.plugins
    before = own.found()
    yield
    for plugin in own.found():
        if plugin not in before:
            oo.unregister(plugin.name)


def made(world: World, *answers: Any, **settings: Any) -> Any:
    settings.setdefault("transport", MockTransport(answers, io=world.clock()))
    return world.client(URL, **settings)


def names(client: Any) -> list[str]:
    """The chain, by the names of what plugins and tests put there."""
    return [getattr(each, "name", type(each).__name__) for each in client.client._pipeline.middleware]


def test_each_slot_has_its_place_and_sees_what_passes_there(world: World) -> None:
    notes: list[str] = []
    oo.register(Offering(*[(slot, Noting(slot.value, notes)) for slot in reversed(oo.Slot)]), "slots")
    client = made(world, 503, {"value": "v"}, 404, retries=1, cache=oo.SecretCache())
    assert names(client) == [
        "call", "Cache", "fetch", "Retry", "attempt", "ErrorMapping", "BearerAuth", "wire"
    ]  # fmt: skip
    assert client.get_secret(TOKEN, cache_ttl=60) == "v"
    assert notes == [
        "call without the header",
        "fetch without the header",
        "attempt without the header",
        "wire with the header",
        "wire 503",
        "attempt SecretError",
        "attempt without the header",
        "wire with the header",
        "wire 200",
        "attempt 200",
        "fetch 200",
        "call 200",
    ]
    # A hit, and a call without caching.
    notes.clear()
    assert client.get_secret(TOKEN, cache_ttl=60) == "v"
    assert notes == ["call without the header", "call 200"]
    notes.clear()
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)
    assert [note for note in notes if "header" not in note] == [
        "wire 404",
        "attempt SecretError",
        "fetch SecretError",
        "call SecretError",
    ]


def test_logging_stands_outside_of_all(world: World) -> None:
    oo.register(Offering((oo.Slot.CALL, Noting("call", []))), "caller")
    assert names(made(world, logging=True))[:3] == ["Logging", "call", "Cache"]


def test_within_a_slot_the_order_is_by_plugin_name_and_then_as_offered(world: World) -> None:
    notes: list[str] = []
    for name in ("b", "c", "a"):
        oo.register(Offering(*[(oo.Slot.CALL, Noting(f"{name}{n}", notes)) for n in (2, 1)]), name)
    assert names(made(world))[:7] == ["a2", "a1", "b2", "b1", "c2", "c1", "Cache"]


def test_one_middleware_may_serve_every_client_and_several_slots(world: World) -> None:
    notes: list[str] = []
    same = Noting("same", notes)
    oo.register(Offering((oo.Slot.CALL, same), (oo.Slot.WIRE, same)), "same")
    for client in (made(world, {"value": "v"}), made(world, {"value": "v"})):
        assert client.get_secret(TOKEN) == "v"
    assert notes.count("same 200") == 4


def test_a_clients_own_chain_is_exactly_that(world: World) -> None:
    plugin = Offering((oo.Slot.CALL, Noting("call", [])))
    oo.register(plugin, "caller")
    mine = Noting("mine", [])
    assert names(made(world, middleware=[mine])) == ["mine"]
    assert names(made(world, middleware=[])) == []
    assert names(made(world, middleware=oo.default_middleware())) == ["Cache", "Retry", "ErrorMapping", "BearerAuth"]
    assert names(made(world, plugins=False)) == ["Cache", "Retry", "ErrorMapping", "BearerAuth"]
    assert plugin.told == []


def test_a_plugin_is_told_what_is_built_once_for_each_client_and_never_a_token(world: World) -> None:
    plugin = Offering()
    oo.register(plugin, "told")
    first = made(world, {"value": "v"}, retries=2)
    first.get_secret(TOKEN)
    world.client("https://gateway.example/base/", transport=MockTransport([]))
    assert plugin.told == [
        oo.ClientInfo(URL, world.blocking, 2),
        oo.ClientInfo("https://gateway.example/base", world.blocking, 0),
    ]
    assert [field.name for field in dataclasses.fields(oo.ClientInfo)] == ["base_url", "blocking", "retries", "role"]
    assert {told.role for told in plugin.told} == {"blocking" if world.blocking else "asyncio"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugin.told[0].retries = 9  # type: ignore[misc]  # as the test has it


def test_a_plugin_may_offer_nothing(world: World) -> None:
    class Silent:
        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> Any:
            return None

    class Choosy:
        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> Any:
            if client.retries:
                yield oo.Slot.FETCH, Noting("fetch", [])

    oo.register(Silent(), "silent")
    oo.register(Choosy(), "choosy")
    assert names(made(world)) == ["Cache", "Retry", "ErrorMapping", "BearerAuth"]
    assert names(made(world, retries=1))[:3] == ["Cache", "fetch", "Retry"]


def test_a_module_may_be_a_plugin() -> None:
    module = types.ModuleType("acme_module")

    @oo.hookimpl
    def oo_middleware(client: oo.ClientInfo) -> Any:
        return []

    module.oo_middleware = oo_middleware  # type: ignore[attr-defined]  # as a module's `def` would
    assert oo.register(module) == "acme_module"
    assert oo.register(Offering()) == "tests.unit.test_plugins.Offering"
    assert [plugin.name for plugin in _plugins.plugins.found()] == ["acme_module", "tests.unit.test_plugins.Offering"]
    assert {plugin.distribution for plugin in _plugins.plugins.found()} == {""}


class Kinds:
    """A plugin that adds kinds of credentials, and nothing else."""

    def __init__(self, *kinds: Any) -> None:
        self.kinds = kinds

    @oo.hookimpl
    def oo_credentials(self) -> Any:
        if not self.kinds:
            raise ValueError("no kinds")
        return self.kinds


def test_plugins_that_are_named_add_kinds_of_credentials_and_no_other_is_asked() -> None:
    oo.register(Kinds(str, int), "b")
    oo.register(Kinds(bytes), "a")
    oo.register(Offering(), "c")
    oo.register(Kinds(), "d")
    assert _plugins.plugins.credentials(["c", "b", "a", "b"]) == [bytes, str, int]
    assert _plugins.plugins.credentials([]) == []
    for name, why in (("d", "ValueError: no kinds"), ("e", "no installed distributions")):
        with pytest.raises(ValueError, match=f"plugin {name} cannot be loaded: .*{why}"):
            _plugins.plugins.credentials([name])


class NoHook:
    def oo_middleware(self, client: oo.ClientInfo) -> Any:
        return []


class Misspelled:
    @oo.hookimpl
    def oo_middlewares(self, client: oo.ClientInfo) -> Any:
        return []


class Curious:
    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo, token: str) -> Any:
        return []


class Asynchronous:
    @oo.hookimpl
    async def oo_middleware(self, client: oo.ClientInfo) -> Any:
        return []


BAD: dict[str, tuple[Any, str]] = {
    "no hook": (NoHook(), "has no `@oo.hookimpl def oo_middleware"),
    "a module without one": (json, "json has no `@oo.hookimpl"),
    "a string": ("acme", "has no `@oo.hookimpl"),
    "none": (None, "has no `@oo.hookimpl"),
    "a hook of no such name": (Misspelled(), "oo_middlewares"),
    "a hook of other arguments": (Curious(), "token"),
    "an async hook": (Asynchronous(), "async def"),
    "a class": (Offering, "give an object"),
}


@pytest.mark.parametrize(("bad", "why"), BAD.values(), ids=BAD)
def test_what_is_no_plugin_is_refused_and_nothing_has_changed(bad: Any, why: str) -> None:
    oo.register(Offering(), "good")
    before = _plugins.plugins.found()
    for _ in range(2):
        with pytest.raises(ValueError, match=why):
            oo.register(bad, "bad" if why != "json has no `@oo.hookimpl" else None)
    assert _plugins.plugins.found() == before
    assert oo.register(Offering(), "bad") == "bad"


class Failing:
    """Raises by itself where `error` is given, else lets through what comes from below."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        if self.error is not None:
            raise self.error
        return await call_next(request)


@pytest.mark.parametrize("slot", list(oo.Slot))
@pytest.mark.parametrize(
    "error",
    [ValueError("broken"), oo.DoubleOError("denied"), oo.ProxyError("denied"), ConnectionResetError(), None],
    ids=["a bug", "an error of ours", "the operation's", "the network's", "another's"],
)
def test_an_error_that_a_plugin_raises_names_it(
    install: Callable[..., None], world: World, slot: oo.Slot, error: Exception | None
) -> None:
    install("acme-deny")
    _plugins.plugins.register(Offering((slot, Failing(error))), "deny")
    _plugins.plugins._distributions["deny"] = "acme-deny"
    client = world.client("http://127.0.0.1:1", transport=MockTransport([RuntimeError("of the transport")]))
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any of these
        client.proxy("v1/x", "a-token-for-plugins")
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    note = "raised by the middleware of plugin deny of distribution acme-deny"
    assert sum(note in each for each in told) == (error is not None)


def test_a_name_and_an_object_are_registered_once() -> None:
    plugin = Offering()
    oo.register(plugin, "one")
    before = _plugins.plugins.found()
    for again, name in ((plugin, "one"), (Offering(), "one"), (plugin, "two")):
        with pytest.raises(ValueError, match="plugin one is there already"):
            oo.register(again, name)
    assert _plugins.plugins.found() == before
    oo.unregister("one")
    assert oo.register(plugin, "two") == "two"


def test_plugins_that_are_equal_and_have_no_hash_are_two(world: World) -> None:
    @dataclasses.dataclass
    class Plain:
        where: str

        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> Any:
            return [(oo.Slot.CALL, Noting(self.where, []))]

    oo.register(Plain("here"), "one")
    oo.register(Plain("here"), "two")
    assert names(made(world))[:3] == ["here", "here", "Cache"]


def test_what_is_registered_counts_for_clients_made_later(world: World) -> None:
    early = made(world)
    oo.register(Offering((oo.Slot.CALL, Noting("late", []))), "late")
    with_it = made(world)
    oo.unregister("late")
    after = made(world)
    assert ["late" in names(client) for client in (early, with_it, after)] == [False, True, False]


@pytest.mark.parametrize("name", ["never", "late", ""])
def test_what_is_not_there_cannot_be_taken_out(name: str) -> None:
    oo.register(Offering(), "late")
    oo.unregister("late")
    with pytest.raises(ValueError, match=f"there is no plugin {name} to take out"):
        oo.unregister(name)


def test_the_functions_of_oo_take_a_plugin_at_once() -> None:
    plugin = Offering()
    told = []
    for step in (lambda: None, lambda: oo.register(plugin, "late"), lambda: oo.unregister("late")):
        step()
        with pytest.raises(oo.ProxyError):
            oo.health("http://127.0.0.1:1")
        told.append(len(plugin.told))
    assert told == [0, 1, 1]


async def good(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request)


def plain(request: oo.Request, call_next: oo.CallNext) -> Any:
    return call_next(request)


BROKEN: dict[str, tuple[Any, str]] = {
    "no Slot": (("call", good), "'call' where a Slot belongs"),
    "a plain def": ((oo.Slot.CALL, plain), "async def"),
    "a class": ((oo.Slot.CALL, Noting), "class"),
    "nothing to call": ((oo.Slot.CALL, 3), "not callable"),
    "three": ((oo.Slot.CALL, good, 3), "gave tuple: .slot, middleware. pairs are expected"),
    "no pair": (oo.Slot.CALL, "gave Slot: .slot, middleware. pairs are expected"),
}


@pytest.mark.parametrize(("offer", "why"), BROKEN.values(), ids=BROKEN)
def test_a_plugin_that_offers_what_is_no_offer_is_left_out_whole_with_one_warning(
    world: World, offer: Any, why: str
) -> None:
    oo.register(Offering((oo.Slot.CALL, Noting("kept", []))), "z-good")
    oo.register(Offering((oo.Slot.CALL, Noting("half", [])), offer), "broken")
    with pytest.warns(RuntimeWarning, match=f"^plugin broken is left out: .*{why}") as caught:
        clients = [made(world) for _ in range(3)]
    assert len(caught) == 1
    assert caught[0].filename == worlds.__file__
    assert [names(client)[:2] for client in clients] == [["kept", "Cache"]] * 3


def test_a_broken_plugin_is_told_of_again_once_it_was_replaced(world: World) -> None:
    for _ in range(2):
        oo.register(Offering("broken"), "broken")
        with pytest.warns(RuntimeWarning, match="plugin broken"):
            made(world)
        oo.unregister("broken")


# Real entry points.

RECORDER = """
import oo

told = []

class Pass:
    async def __call__(self, request, call_next):
        return await call_next(request)

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        told.append(client)
        return [(oo.Slot.CALL, Pass())]

plugin, other = Plugin(), Plugin()
"""
RAISES = """
import oo

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        raise KeyError("no such setting")

plugin = Plugin()
"""
EXITS = RAISES.replace('KeyError("no such setting")', 'SystemExit("no licence")')
GIVES_A_PLAIN_DEF = """
import oo

def plain(request, call_next): ...

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        return [(oo.Slot.CALL, plain)]

plugin = Plugin()
"""
GIVES_NO_SLOT = GIVES_A_PLAIN_DEF.replace("(oo.Slot.CALL, plain)", "('call', plain)")
BROKEN_SOURCES = {
    "raises in its hook": (RAISES, "KeyError: 'no such setting'"),
    "exits in its hook": (EXITS, "SystemExit: no licence"),
    "gives a plain def": (GIVES_A_PLAIN_DEF, "async def"),
    "gives no Slot": (GIVES_NO_SLOT, "where a Slot belongs"),
    "raises when it is imported": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exits when it is imported": ("raise SystemExit('not on this machine')", "SystemExit: not on this machine"),
    "has no such attribute": ("", "AttributeError: "),
    "is no plugin": ("plugin = 3", "has no `@oo.hookimpl"),
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lays out a distribution of one module with its entry points, for plugins that nobody has looked for yet."""
    monkeypatch.delenv("OO_PLUGINS", raising=False)
    monkeypatch.setattr("oo._plugins.plugins", _plugins.Plugins())

    def laid_out(distribution: str, source: str = RECORDER, **points: str) -> None:
        module, site = distribution.replace("-", "_"), tmp_path / distribution
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[oo]", *lines, ""]))
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(site)

    yield laid_out
    for name in list(sys.modules):
        if name.startswith("acme_"):
            del sys.modules[name]


def in_force() -> list[str]:
    return [plugin.name for plugin in _plugins.plugins.found()]


@pytest.mark.parametrize(("source", "why"), BROKEN_SOURCES.values(), ids=BROKEN_SOURCES)
@pytest.mark.parametrize("an_error", [False, True])
def test_a_broken_plugin_is_left_out_with_one_warning_which_names_its_distribution(
    world: World, install: Callable[..., None], source: str, why: str, an_error: bool
) -> None:
    install("acme-broken", source, broken="plugin")
    install("acme-recorder", recorder="plugin")
    said = re.escape("plugin broken of distribution acme-broken is left out: ") + f".*{re.escape(why)}"
    if an_error:
        with pytest.raises(RuntimeWarning, match=said):
            made(world)
    else:
        with pytest.warns(RuntimeWarning, match=said) as caught:
            made(world)
        assert len(caught) == 1
        assert caught[0].filename == worlds.__file__
    # Warnings are errors here: there is no other.
    assert [names(made(world))[:2] for _ in range(2)] == [["Pass", "Cache"]] * 2


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, "a b c"),
        ("", "a b c"),
        ("  ", "a b c"),
        ("off", ""),
        (" OFF ", ""),
        ("b", "b"),
        ("c,a", "a c"),
        (" c , a ,", "a c"),
        ("by-hand", ""),
    ],
)
def test_the_setting_says_which_are_loaded(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, wanted: str | None, found: str
) -> None:
    for name in "cab":
        install(f"acme-{name}", **{name: "plugin"})
    if wanted is not None:
        monkeypatch.setenv("OO_PLUGINS", wanted)
    _plugins.plugins.register(Offering(), "by-hand")
    oo.Client(transport=MockTransport([]))
    # What was registered by hand is there whatever the setting says.
    assert in_force() == sorted([*found.split(), "by-hand"])
    assert sorted(name[5:] for name in sys.modules if name.startswith("acme_")) == found.split()


@pytest.mark.parametrize(
    ("wanted", "missing", "found"), [("nobody", "nobody", ""), ("a,denny", "denny", "a"), ("A", "A", "")]
)
def test_a_name_in_the_setting_that_is_not_there_is_warned_of(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, wanted: str, missing: str, found: str
) -> None:
    install("acme-a", a="plugin")
    monkeypatch.setenv("OO_PLUGINS", wanted)
    with pytest.warns(RuntimeWarning, match=f"plugin {missing} is left out: LookupError: OO_PLUGINS names it") as told:
        oo.Client(transport=MockTransport([]))
    oo.Client(transport=MockTransport([]))
    assert len(told) == 1
    assert in_force() == found.split()


def test_one_that_was_registered_by_hand_stands_in_the_place_of_an_installed_one(
    install: Callable[..., None], world: World
) -> None:
    install("acme-recorder", recorder="plugin")
    _plugins.plugins.register(Offering((oo.Slot.CALL, Noting("mine", []))), "recorder")
    assert names(made(world))[:2] == ["mine", "Cache"]
    assert "acme_recorder" not in sys.modules


def test_a_name_belongs_to_the_distribution_that_comes_first_on_the_path(
    install: Callable[..., None], world: World
) -> None:
    install("acme-two", recorder="plugin")
    install("acme-one", recorder="plugin")
    with pytest.warns(RuntimeWarning, match="recorder of distribution acme-two .* acme-one has a plugin of that name"):
        made(world)
    assert names(made(world))[:2] == ["Pass", "Cache"]
    assert "acme_two" not in sys.modules


def test_one_plugin_under_two_names_runs_once(install: Callable[..., None], world: World) -> None:
    install("acme-one", a="plugin", b="plugin", c="other")
    with pytest.warns(RuntimeWarning, match="plugin b of distribution acme-one .* plugin a is there already"):
        made(world)
    assert names(made(world))[:3] == ["Pass", "Pass", "Cache"]


MAKES_A_CLIENT = """
import oo
from oo.testing import MockTransport

class Plugin:
    @oo.hookimpl
    def oo_middleware(self, client):
        return []

oo.Client(transport=MockTransport([])).close()
plugin = Plugin()
"""


def test_a_plugin_that_makes_a_client_when_it_is_imported_loads(install: Callable[..., None], world: World) -> None:
    install("acme-recorder", recorder="plugin")
    install("acme-maker", MAKES_A_CLIENT, maker="plugin")
    made(world)
    assert in_force() == ["maker", "recorder"]


WAITS = """
import sys

sys.acme_begun.set()
sys.acme_go.wait(60)
"""


def test_a_thread_that_makes_a_client_as_it_imports_a_plugin_and_the_first_client_do_not_wait_for_each_other(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-maker", WAITS + MAKES_A_CLIENT, maker="plugin")
    install("acme-recorder", recorder="plugin")
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "acme_begun", begun, raising=False)
    monkeypatch.setattr(sys, "acme_go", go, raising=False)
    threads = [threading.Thread(target=call, daemon=True) for call in (lambda: __import__("acme_maker"), in_force)]
    threads[0].start()
    assert begun.wait(PATIENCE)
    threads[1].start()
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [thread.is_alive() for thread in threads] == [False, False]
    assert in_force() == ["maker", "recorder"]


def test_a_plugin_that_was_imported_by_hand_and_made_a_client_loads_for_the_next(install: Callable[..., None]) -> None:
    install("acme-maker", MAKES_A_CLIENT, maker="plugin")
    __import__("acme_maker")
    assert in_force() == ["maker"]


def test_an_interrupt_while_a_plugin_is_imported_loses_none(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_INTERRUPTED", "yes")
    interrupted = 'import os\nif os.environ.pop("ACME_INTERRUPTED", ""):\n    raise KeyboardInterrupt\n'
    for name, source in (("a", RECORDER), ("b", interrupted + RECORDER), ("c", RECORDER)):
        install(f"acme-{name}", source, **{name: "plugin"})
    with pytest.raises(KeyboardInterrupt):
        oo.Client(transport=MockTransport([]))
    assert in_force() == ["a", "b", "c"]


@pytest.mark.parametrize("text", [b"[console_scripts]\nhalf\n", b"[oo]\nhalf\n", b"[oo]\nhalf = \xff:plugin\n"])
def test_a_distribution_whose_entry_points_cannot_be_read_is_left_out_with_one_warning(
    install: Callable[..., None], tmp_path: Path, text: bytes
) -> None:
    install("acme-recorder", recorder="plugin")
    install("acme-half", half="plugin")
    (tmp_path / "acme-half" / "acme_half-1.0.dist-info" / "entry_points.txt").write_bytes(text)
    with pytest.warns(RuntimeWarning, match="^every plugin of distribution acme-half is left out: .*Error") as caught:
        assert in_force() == ["recorder"]
    assert len(caught) == 1
    assert in_force() == ["recorder"]


GATEWAY = oo.ClientInfo("http://127.0.0.1:3001", blocking=False, retries=0, role="gateway")


def test_a_named_plugin_is_loaded_alone_and_whatever_the_environment_says(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_PLUGINS", "off")
    install("acme-recorder", recorder="plugin")
    install("acme-broken", source="raise ZeroDivisionError", broken="plugin")
    by_hand = Offering((oo.Slot.WIRE, Noting("wire", [])))
    oo._plugins.plugins.register(by_hand, "by-hand")
    named, slots = _plugins.plugins.named(["recorder", "by-hand", "recorder"], GATEWAY)
    assert named == [("by-hand", ""), ("recorder", "acme-recorder")]
    assert by_hand.told == [GATEWAY]
    assert len(slots[oo.Slot.WIRE]) >= 1
    assert in_force() == ["by-hand"]


@pytest.mark.parametrize("name", ["absent", "broken", "twice", "wrong"])
def test_a_named_plugin_that_cannot_be_had_is_an_error(
    install: Callable[..., None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_PLUGINS", "off")
    install("acme-broken", source="raise ZeroDivisionError", broken="plugin")
    install("acme-one", twice="plugin")
    install("acme-two", twice="plugin")
    _plugins.plugins.register(Offering(("call", Noting("call", []))), "wrong")
    with pytest.raises(ValueError, match=f"^plugin {name} cannot be loaded: "):
        _plugins.plugins.named([name], GATEWAY)


FORK = """if True:
    import os, signal, sys, threading
    import oo

    sys.acme_begun, sys.acme_go = threading.Event(), threading.Event()
    thread = threading.Thread(target=oo.Client)
    thread.start()
    sys.acme_begun.wait(60)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        oo.Client()
        os._exit(0)
    sys.acme_go.set()
    thread.join()
    print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_while_a_plugin_is_imported_makes_clients(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-slow", WAITS + RECORDER, slow="plugin")
    monkeypatch.setenv("OO_PLUGINS", "off")  # in this process
    path = os.pathsep.join([str(tmp_path / "acme-slow"), str(ROOT)])
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORK]
    env = {**os.environ, "OO_PLUGINS": "", "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_scan_is_made_once_and_by_the_first_client_that_takes_plugins(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("acme-recorder", recorder="plugin")
    code = """if True:
        import sys
        import importlib.metadata
        scan, scans = importlib.metadata.entry_points, []
        importlib.metadata.entry_points = lambda **asked: scans.append(asked["group"]) or scan(**asked)
        import oo
        all(getattr(oo, name) for name in oo.__all__)
        oo.register(type("Own", (), {"oo_middleware": oo.hookimpl(lambda self, client: [])})(), "own")
        oo.Client(plugins=False), oo.Client(middleware=[]), oo.AsyncClient(plugins=False)
        print(scans, "acme_recorder" in sys.modules)
        oo.AsyncClient(), oo.Client(), oo.Client(retries=1)
        print(scans, len(sys.modules["acme_recorder"].told))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "acme-recorder"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["[] False", "['oo'] 3"]


KMS = """
import oo

class Kms:
    id = "key"

    def __init__(self, url):
        self.url = url

class Plugin:
    @oo.hookimpl
    def oo_kms(self, url):
        return Kms(url) if "none" not in url else None

plugin = Plugin()
"""


def test_the_plugin_of_a_kms_is_loaded_where_it_is_named_and_no_other_is(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-kms", KMS, acme="plugin")
    install("acme-broken", "raise SystemExit", broken="plugin")
    monkeypatch.setenv("OO_PLUGINS", "off")
    found: Any = _plugins.plugins.kms("acme", "acme://host")
    assert (found.id, found.url) == ("key", "acme://host")
    assert "acme_broken" not in sys.modules
    for name, why in (("broken", "SystemExit"), ("missing", "ValueError")):
        with pytest.raises(ValueError, match=f"plugin {name} cannot be loaded: {why}"):
            _plugins.plugins.kms(name, "url")
    with pytest.raises(ValueError, match="has no `@oo"):
        _plugins.plugins.kms("acme", "acme://none")
