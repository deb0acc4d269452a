"""Plugins: found once through the entry-point group `oo`, ordered by name, and left out when they break."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

import pluggy

from . import hooks
from ._pipeline import Middleware, check, name_of
from .hooks import ClientInfo, Slot
from .middleware import BearerAuth, Cache, Retry

GROUP = "oo"


class Plugin(NamedTuple):
    """A plugin as `oo plugins` lists it; `distribution` is "" for one that was registered by hand."""

    name: str
    distribution: str


class Plugins:
    """The plugins of a process. pluggy keeps them; nothing here is on the path of a call."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hooks)
        self._distributions: dict[str, str] = {}
        self._failed: list[tuple[str, Exception]] = []
        self._warned: set[str] = set()
        self._scanned = False
        self._lock = threading.RLock()

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin by hand; gives its name. ValueError where the name or the object is there already, or where
        it has no `oo_middleware` hook, or one of other arguments."""
        name = name or getattr(plugin, "__name__", None) or name_of(plugin)
        with self._lock:
            try:
                self._manager.register(plugin, name)
            except pluggy.PluginValidationError as error:
                if self._manager.has_plugin(name):  # up to pluggy 1.6 it stays, half registered
                    self._manager.unregister(plugin)
                raise ValueError(str(error)) from None
            if not self._manager.get_hookcallers(plugin):
                self._manager.unregister(plugin)
                raise ValueError(f"plugin {name} has no `@oo.hookimpl def oo_middleware(client)`")
        return name

    def unregister(self, name: str) -> None:
        """Take a plugin out again, for the clients made from now on."""
        with self._lock:
            self._manager.unregister(name=name)

    def found(self) -> list[Plugin]:
        """The plugins in force, in their order."""
        with self._lock:
            self._scan()
            named = self._manager.list_name_plugin()
        return [Plugin(name, self._distributions.get(name, "")) for name, plugin in sorted(named) if plugin]

    def middleware(self, client: ClientInfo) -> dict[Slot, list[Middleware]]:
        """What the plugins put into each slot of a client's chain."""
        slots: dict[Slot, list[Middleware]] = {slot: [] for slot in Slot}
        for plugin in self.found():
            for slot, middleware in self._offers(plugin.name, client):
                slots[slot].append(middleware)
        return slots

    def _offers(self, name: str, client: ClientInfo) -> Sequence[tuple[Slot, Middleware]]:
        plugin = self._manager.get_plugin(name)
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        hook = self._manager.subset_hook_caller("oo_middleware", others)
        try:
            offers = [offer for result in hook(client=client) for offer in result]
            for slot, middleware in offers:
                if not isinstance(slot, Slot):
                    raise TypeError(f"oo_middleware gave {slot!r} where a Slot belongs")
                check(middleware)
        except Exception as error:  # a plugin is foreign code: whatever it raises, the client is made without it
            self._leave_out(name, error)
            return []
        return offers

    def _scan(self) -> None:
        if not self._scanned:
            self._scanned = True
            for entry in _wanted(os.environ.get("OO_PLUGINS", "")):
                if self._manager.has_plugin(entry.name):
                    continue
                self._distributions[entry.name] = entry.dist.name if entry.dist else ""
                try:
                    self.register(entry.load(), entry.name)
                except Exception as error:  # as above: an import may raise anything
                    self._failed.append((entry.name, error))
        # Not before: where warnings are errors, the first would end the scan.
        while self._failed:
            self._leave_out(*self._failed.pop(0))

    def _leave_out(self, name: str, error: Exception) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        source = self._distributions.get(name)
        origin = f" of distribution {source}" if source else ""
        # Out of the library, to the line that made the client.
        depth = next((n for n, module in enumerate(_callers()) if not f"{module}.".startswith("oo.")), 1)
        text = f"plugin {name}{origin} is left out: {type(error).__name__}: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=depth)


def with_plugins(chain: Sequence[Middleware], slots: dict[Slot, list[Middleware]]) -> list[Middleware]:
    """The default chain with each slot's middlewares in their place."""
    result: list[Middleware] = []
    for middleware in chain:
        if isinstance(middleware, Cache):
            result += [*slots[Slot.CALL], middleware, *slots[Slot.FETCH]]
        elif isinstance(middleware, Retry):
            result += [middleware, *slots[Slot.ATTEMPT]]
        elif isinstance(middleware, BearerAuth):
            result += [middleware, *slots[Slot.WIRE]]
        else:
            result.append(middleware)
    return result


def _wanted(setting: str) -> Iterator[EntryPoint]:
    setting = setting.strip()
    if setting.lower() == "off":
        return
    names = {name.strip() for name in setting.split(",") if name.strip()}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if not names or entry.name in names:
            yield entry


def _callers() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop


plugins = Plugins()
"""The plugins of this process."""
