"""Plugins: found once through the entry-point group `oo`, ordered by name, and left out when they break."""

from __future__ import annotations

import inspect
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
from .middleware._forks import keep

GROUP = "oo"


class Plugin(NamedTuple):
    """A plugin as `oo plugins` lists it; `distribution` is "" for one that was registered by hand."""

    name: str
    distribution: str


class Plugins:
    """The plugins of a process. pluggy checks and asks them; nothing here is on the path of a call."""

    def __init__(self) -> None:
        self._managers: dict[str, pluggy.PluginManager] = {}  # by name, one for each: a plugin is asked alone
        self._distributions: dict[str, str] = {}
        self._failed: list[tuple[Plugin, BaseException]] = []
        self._warned: set[Plugin] = set()
        self._scanned = False
        self._lock = threading.RLock()

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin by hand; gives its name. ValueError where the name or the object is there already, or where
        it has no `oo_middleware` hook that could be called; nothing has changed then."""
        name = name or getattr(plugin, "__name__", None) or name_of(plugin)
        manager = _managed(plugin, name)
        with self._lock:
            for other, each in self._managers.items():
                if other == name or each.get_plugin(other) is plugin:
                    raise ValueError(f"plugin {other} is there already")
            self._managers[name] = manager
        return name

    def unregister(self, name: str) -> None:
        """Take a plugin out again, for the clients made from now on."""
        with self._lock:
            self._managers.pop(name, None)
            self._distributions.pop(name, None)
            self._warned = {plugin for plugin in self._warned if plugin.name != name}

    def found(self) -> list[Plugin]:
        """The plugins in force, in their order."""
        with self._lock:
            self._scan()
            return [Plugin(name, self._distributions.get(name, "")) for name in sorted(self._managers)]

    def middleware(self, client: ClientInfo) -> dict[Slot, list[Middleware]]:
        """What the plugins put into each slot of a client's chain."""
        slots: dict[Slot, list[Middleware]] = {slot: [] for slot in Slot}
        for plugin in self.found():
            for slot, middleware in self._offers(plugin, client):
                slots[slot].append(middleware)
        return slots

    def _offers(self, plugin: Plugin, client: ClientInfo) -> Sequence[tuple[Slot, Middleware]]:
        manager = self._managers.get(plugin.name)
        if manager is None:  # unregistered meanwhile
            return []
        try:
            offers = [offer for result in manager.hook.oo_middleware(client=client) for offer in result]
            for slot, middleware in offers:
                if not isinstance(slot, Slot):
                    raise TypeError(f"oo_middleware gave {slot!r} where a Slot belongs")
                check(middleware)
        except Exception as error:  # a plugin is foreign code: whatever it raises, the client is made without it
            self._leave_out(plugin, error)
            return []
        return offers

    def _scan(self) -> None:
        if not self._scanned:
            self._scanned = True
            for entry in _wanted(os.environ.get("OO_PLUGINS", "")):
                plugin = Plugin(entry.name, entry.dist.name if entry.dist else "")
                try:
                    self._take(plugin, entry)
                except (Exception, SystemExit) as error:  # as above: an import may raise anything, and exit
                    self._failed.append((plugin, error))
        # Not before: where warnings are errors, the first would end the scan.
        while self._failed:
            self._leave_out(*self._failed.pop(0))

    def _take(self, plugin: Plugin, entry: EntryPoint) -> None:
        if plugin.name in self._managers:
            # One that was registered by hand stands in the place of an installed one of its name.
            if taken := self._distributions.get(plugin.name):
                raise ValueError(f"distribution {taken} has a plugin of that name")
            return
        self.register(entry.load(), plugin.name)
        self._distributions[plugin.name] = plugin.distribution

    def _leave_out(self, plugin: Plugin, error: BaseException) -> None:
        if plugin in self._warned:
            return
        self._warned.add(plugin)
        origin = f" of distribution {plugin.distribution}" if plugin.distribution else ""
        text = f"plugin {plugin.name}{origin} is left out: {type(error).__name__}: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=outside())

    def after_fork(self) -> None:
        """In a child: let go of the lock."""
        # A scan that was under way is not begun anew: what was being imported can never be imported in the child, as
        # Python has it.
        self._lock = threading.RLock()


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


def _managed(plugin: object, name: str) -> pluggy.PluginManager:
    """A manager of this plugin alone; ValueError where that has no hook that could be called."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ValueError(str(error)) from None
    found = manager.hook.oo_middleware.get_hookimpls()
    if not found:
        raise ValueError(f"plugin {name} has no `@oo.hookimpl def oo_middleware(client)`")
    for each in found:
        if inspect.iscoroutinefunction(each.function):
            raise ValueError(f"the hook of plugin {name} is an `async def`: write it with `def`")
        try:
            inspect.signature(each.function).bind(*each.argnames)
        except TypeError:
            raise ValueError(f"plugin {name} is a class: give an object of it") from None
    return manager


def outside() -> int:
    """The stacklevel at which a warning of this function's caller points out of the library, to who called it."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith("oo."):
        depth, frame = depth + 1, frame.f_back
    return depth


plugins = Plugins()
"""The plugins of this process."""
keep(plugins)
