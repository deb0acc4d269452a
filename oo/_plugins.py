"""Plugins: found once through the entry-point group `oo`, ordered by name, and left out when they break."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, NamedTuple

from ._core.fork import register
from ._core.pipeline import Middleware, Pipeline, check_middleware, code_of, name_of
from ._core.slots import ClientInfo, Slot
from ._core.warnings import outside

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    import pluggy

    from .hooks import Kms

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
        self._scanned = False
        self._waiting: list[tuple[Plugin, EntryPoint]] = []  # found, and not loaded yet
        self._failed: list[tuple[Plugin, BaseException]] = []
        self._warned: set[Plugin] = set()
        self._origins: dict[CodeType | str, list[Plugin]] = {}  # whose middleware a piece of code, or a file, is
        self._lock = threading.RLock()

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin by hand; gives its name. ValueError where the name or the object is there already, or where
        it has no `oo_middleware` hook that could be called; nothing has changed then."""
        name = name or getattr(plugin, "__name__", None) or name_of(plugin)
        manager = _managed(plugin, name)
        with self._lock:
            self._add(manager, name)
        return name

    def _add(self, manager: pluggy.PluginManager, name: str) -> None:
        plugin = manager.get_plugin(name)
        for other, existing in self._managers.items():
            if other == name or existing.get_plugin(other) is plugin:
                raise ValueError(f"plugin {other} is there already")
        self._managers[name] = manager

    def unregister(self, name: str) -> None:
        """Take a plugin out again, for the clients made from now on. ValueError where there is none of that name."""
        with self._lock:
            if self._managers.pop(name, None) is None:
                raise ValueError(f"there is no plugin {name} to take out")
            self._distributions.pop(name, None)
            self._warned = {plugin for plugin in self._warned if plugin.name != name}

    def found(self) -> list[Plugin]:
        """The plugins in force, in their order."""
        self._scan()
        with self._lock:
            # Where warnings are errors, one ends this: what comes after it is told of by the next.
            while self._failed:
                self._leave_out(*self._failed.pop(0))
            return [Plugin(name, self._distributions.get(name, "")) for name in sorted(self._managers)]

    def middleware(self, client: ClientInfo) -> dict[Slot, list[Middleware]]:
        """The middlewares of the plugins for each slot of a client's chain."""
        slots: dict[Slot, list[Middleware]] = {slot: [] for slot in Slot}
        for plugin in self.found():
            for slot, middleware in self._offers(plugin, client):
                slots[slot].append(middleware)
                self._note_origin(plugin, middleware)
        return slots

    def _offers(self, plugin: Plugin, client: ClientInfo) -> Sequence[tuple[Slot, Middleware]]:
        manager = self._managers.get(plugin.name)
        if manager is None:  # unregistered meanwhile
            return []
        try:
            return _offered(manager, client)
        except (Exception, SystemExit) as error:  # foreign code: whatever it raises, the client is made without it
            self._leave_out(plugin, error)
            return []

    def named(self, names: Iterable[str], client: ClientInfo) -> tuple[list[Plugin], dict[Slot, list[Middleware]]]:
        """The plugins of these names, whatever OO_PLUGINS says, and what they put into each slot. No other is loaded.
        ValueError for one that is not there or breaks: who named it relies on it."""
        named: list[Plugin] = []
        slots: dict[Slot, list[Middleware]] = {slot: [] for slot in Slot}
        for name in sorted(set(names)):
            try:
                plugin, manager = self._named(name)
                offers = _offered(manager, client)
            except (Exception, SystemExit) as error:  # foreign code, as above
                raise ValueError(f"plugin {name} cannot be loaded: {type(error).__name__}: {error}") from None
            named.append(plugin)
            for slot, middleware in offers:
                slots[slot].append(middleware)
                self._note_origin(plugin, middleware)
        return named, slots

    def _named(self, name: str) -> tuple[Plugin, pluggy.PluginManager]:
        with self._lock:
            if name in self._managers:
                return Plugin(name, self._distributions.get(name, "")), self._managers[name]
        entries = [entry for entry in self._entries() if entry.name == name]
        if len(entries) != 1:
            raise ValueError(f"{len(entries) or 'no'} installed distributions have a plugin of that name")
        return Plugin(name, _name(entries[0].dist)), _managed(entries[0].load(), name)

    def credentials(self, names: Iterable[str]) -> list[type]:
        """The kinds of credentials that the plugins of these names add. No other is loaded; ValueError as above."""
        return [kind for name in sorted(set(names)) for kind in self._kinds(name)]

    def _kinds(self, name: str) -> list[type]:
        try:
            _, manager = self._named(name)
            return [kind for result in manager.hook.oo_credentials() for kind in result]
        except (Exception, SystemExit) as error:  # as above
            raise ValueError(f"plugin {name} cannot be loaded: {type(error).__name__}: {error}") from None

    def kms(self, name: str, url: str) -> Kms:
        """The KMS of the plugin of that name for a URL. No other is loaded; ValueError as above."""
        try:
            _, manager = self._named(name)
            found: Kms | None = manager.hook.oo_kms(url=url)
        except (Exception, SystemExit) as error:  # as above, and the URL may hold a secret
            raise ValueError(f"plugin {name} cannot be loaded: {type(error).__name__}") from None
        if found is None:
            raise ValueError(f"plugin {name} has no `@oo.hookimpl def oo_kms(url)`")
        return found

    def _scan(self) -> None:
        if not self._scanned:
            wanted = self._wanted(os.environ.get("OO_PLUGINS", ""))
            with self._lock:
                if not self._scanned:
                    self._scanned, self._waiting = True, wanted
        # What an interrupt keeps from being loaded waits for the next client.
        for plugin, entry in list(self._waiting):
            self._load(plugin, entry)

    def _wanted(self, setting: str) -> list[tuple[Plugin, EntryPoint]]:
        setting = setting.strip()
        if setting.lower() == "off":
            return []
        names = {name.strip() for name in setting.split(",") if name.strip()}
        found = [(Plugin(entry.name, _name(entry.dist)), entry) for entry in self._entries()]
        for name in sorted(names - {plugin.name for plugin, _ in found} - set(self._managers)):
            missing = LookupError("OO_PLUGINS names it, and no installed distribution has a plugin of that name")
            self._failed.append((Plugin(name, ""), missing))
        return sorted((each for each in found if not names or each[0].name in names), key=lambda each: each[0].name)

    def _entries(self) -> list[EntryPoint]:
        from importlib.metadata import distributions, entry_points

        with contextlib.suppress(Exception):
            return list(entry_points(group=GROUP))
        # One that cannot be read keeps all others from being read together.
        found: dict[str, list[EntryPoint]] = {}
        for distribution in distributions():
            found.setdefault(_name(distribution), self._read(distribution))
        return [entry for entries in found.values() for entry in entries]

    def _read(self, distribution: Distribution) -> list[EntryPoint]:
        try:
            return list(distribution.entry_points.select(group=GROUP))
        except Exception as error:  # as above
            self._failed.append((Plugin("", _name(distribution)), error))
            return []

    def _load(self, plugin: Plugin, entry: EntryPoint) -> None:
        # Import without our lock: a plugin may make a Client while it is imported, and would deadlock. So several
        # threads may load one plugin, which Python imports once, and the first to finish registers it.
        claimed = False
        try:
            manager = None if plugin.name in self._managers else _managed(entry.load(), plugin.name)
            with self._lock:
                claimed = self._claim(plugin, entry)
                if claimed:
                    self._take(plugin, manager)
        except (Exception, SystemExit) as error:  # as above: an import may raise anything, and exit
            if claimed or self._claim(plugin, entry):
                self._failed.append((plugin, error))

    def _claim(self, plugin: Plugin, entry: EntryPoint) -> bool:
        with self._lock:
            # A module that makes a client while it is imported cannot be loaded for that one.
            if (plugin, entry) not in self._waiting or _is_importing(entry):
                return False
            self._waiting.remove((plugin, entry))
            return True

    def _take(self, plugin: Plugin, manager: pluggy.PluginManager | None) -> None:
        if plugin.name in self._managers:
            # One that was registered by hand stands in the place of an installed one of its name.
            if taken := self._distributions.get(plugin.name):
                raise ValueError(f"distribution {taken} has a plugin of that name")
        elif manager is not None:
            self._add(manager, plugin.name)
            self._distributions[plugin.name] = plugin.distribution

    def _leave_out(self, plugin: Plugin, error: BaseException) -> None:
        if plugin in self._warned:
            return
        self._warned.add(plugin)
        what = f"plugin {plugin.name}" if plugin.name else "every plugin"
        origin = f" of distribution {plugin.distribution}" if plugin.distribution else ""
        text = f"{what}{origin} is left out: {type(error).__name__}: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=outside())

    def after_fork(self) -> None:
        """In a forked child: replace the lock."""
        self._lock = threading.RLock()
        # What was being imported can never be imported in the child, as Python has it, nor what imports the same.
        if any(_is_importing(entry) for _, entry in self._waiting):
            self._waiting = []

    def _note_origin(self, plugin: Plugin, middleware: Middleware) -> None:
        code = code_of(middleware)
        for key in () if code is None else (code, code.co_filename):
            owners = self._origins.setdefault(key, [])
            if plugin not in owners:  # two plugins may offer objects of one class
                owners.append(plugin)

    def blamed(self, trace: TracebackType | None, is_other: Callable[[CodeType], bool]) -> str:
        """What to say of an error where a plugin's middleware raised it, or an async generator beside that; else "".
        The last of the chain on the way to the error did. `is_other` tells what of the chain is no plugin's."""
        owners: list[Plugin] = []
        for frame, _ in traceback.walk_tb(trace):
            code = frame.f_code
            if code in self._origins or is_other(code):
                owners = self._origins.get(code, [])
            elif code.co_flags & inspect.CO_ASYNC_GENERATOR:
                owners = self._origins.get(code.co_filename, [])
        named = (
            f"{owner.name} of distribution {owner.distribution}" if owner.distribution else owner.name
            for owner in owners
        )
        return f"raised by the middleware of plugin {' or '.join(named)}" if owners else ""


def name_plugin(error: Exception, trace: TracebackType | None, pipeline: Pipeline | None = None) -> None:
    """Note on an error which plugin's middleware raised it, where one did. A stream that is read is no pipeline's."""
    ends = set() if pipeline is None else {*map(code_of, pipeline.middleware), code_of(pipeline.transport.send)}
    note = plugins.blamed(trace, ends.__contains__)
    if not note or note in str(error.args) or note in getattr(error, "__notes__", ()):
        return  # several callers may share one error
    if sys.version_info >= (3, 11):
        error.add_note(note)
    elif error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}", *error.args[1:])


def _offered(manager: pluggy.PluginManager, client: ClientInfo) -> list[tuple[Slot, Middleware]]:
    """What a plugin offers; TypeError where that is no middleware in a slot."""
    offers = [offer for result in manager.hook.oo_middleware(client=client) for offer in result]
    for offer in offers:
        if not isinstance(offer, (tuple, list)) or len(offer) != 2:
            raise TypeError(f"oo_middleware gave {type(offer).__name__}: (slot, middleware) pairs are expected")
        slot, middleware = offer
        if not isinstance(slot, Slot):
            raise TypeError(f"oo_middleware gave {slot!r} where a Slot belongs")
        check_middleware(middleware)
    return offers


def _name(distribution: Distribution | None) -> str:
    with contextlib.suppress(Exception):  # of metadata that are not there
        return distribution.name or "" if distribution else ""
    return ""


def _is_importing(entry: EntryPoint) -> bool:
    """Whether its module, or a package around that, is being imported."""
    names = accumulate(entry.value.partition(":")[0].strip().split("."), "{}.{}".format)
    specs = [getattr(sys.modules.get(name), "__spec__", None) for name in names]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _managed(plugin: object, name: str) -> pluggy.PluginManager:
    """A manager of this plugin alone; ValueError where that has no hook that could be called."""
    import pluggy

    from . import hooks

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ValueError(str(error)) from None
    known = (manager.hook.oo_middleware, manager.hook.oo_credentials, manager.hook.oo_kms)
    implementations = [implementation for hook in known for implementation in hook.get_hookimpls()]
    if not implementations:
        raise ValueError(f"plugin {name} has no `@oo.hookimpl def oo_middleware(client)`")
    for implementation in implementations:
        if inspect.iscoroutinefunction(implementation.function):
            raise ValueError(f"the hook of plugin {name} is an `async def`: write it with `def`")
        try:
            inspect.signature(implementation.function).bind(*implementation.argnames)
        except TypeError:
            raise ValueError(f"plugin {name} is a class: give an object of it") from None
    return manager


plugins = Plugins()
"""The plugins of this process."""
register(plugins)
