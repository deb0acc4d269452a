"""Which store is meant, and how it is opened: a directory with a vault, or `postgres://...`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import keyring
from .errors import StoreError
from .paths import VAULT_FILE, data_dir, expanded
from .sealing import MasterKeys
from .store.base import Keeper
from .vault import Vault

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_AROUND = " \t\r\n\"'"  # what a shell would have taken away; an environment's file keeps it
_POSTGRES = ("postgres://", "postgresql://")


def place_of(given: str | None = None) -> str:
    """Where the store is: what was given, else `OO_STORE`, else the data directory. StoreError for another engine's."""
    place = given or os.environ.get("OO_STORE") or str(data_dir())
    key_home(place)  # which refuses another engine's
    return place


def is_postgres(place: str) -> bool:
    """Whether a place is a PostgreSQL database."""
    return place.startswith(_POSTGRES)


def key_home(place: str) -> Path:
    """The directory where a store's master key lies, unless the environment gives it. StoreError for another
    engine's."""
    if is_postgres(place):
        return data_dir()
    if not place.strip():
        raise StoreError("a store is a directory, or postgres://USER@HOST/DATABASE: none is named")
    if scheme := _SCHEME.match(place.lstrip(_AROUND)):  # the rest of it may hold a password
        raise StoreError(f"a store is a directory, or postgres://USER@HOST/DATABASE: {scheme[0]} is neither")
    return expanded(place)


def open_store(place: str | None = None, load: Callable[[], MasterKeys] | None = None) -> Keeper:
    """The store at a place, by default the one of `place_of`; it is open within its `async with` block. `load` gives
    the master key, by default that of `keyring.load`. StoreError if there is none or the key is another's."""
    where = place_of(place)
    home = key_home(where)
    load = load or partial(keyring.load, home)
    if is_postgres(where):
        from .postgres import PostgresStore

        return PostgresStore(where, load)
    return Vault(home, load)


def shown(place: str) -> str:
    """A store's place as it may be shown: the vault's file, or a database without a password."""
    if is_postgres(place):
        from .store.postgres.place import parse

        return str(parse(place))
    return str(expanded(place) / VAULT_FILE)
