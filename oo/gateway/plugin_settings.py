"""What a route hands to plugins: settings by the plugin's name. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from .errors import StoreError

PluginSettings: TypeAlias = Mapping[str, Mapping[str, str]]
"""For the name of each plugin, its settings."""

_NAME = re.compile(r"[^\s,]{1,128}")  # as `oo serve --plugins` can name it
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


def parse_settings(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of texts such as `NAME key=value other="two words"`; StoreError where one is none."""
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        try:
            name, *words = shlex.split(text)
        except ValueError:
            raise StoreError("a --with that is empty, or whose quotes do not match, is no 'NAME key=value'") from None
        pairs = [word.partition("=") for word in words]
        if name in found or not all(equals for _, equals, _ in pairs) or len({key for key, *_ in pairs}) < len(pairs):
            raise StoreError(f"the settings of {name!r} are not each a key=value, given once")
        found[name] = {key: value for key, _, value in pairs}
    return found


def check_settings(settings: PluginSettings) -> None:
    """StoreError for a name that no plugin has, or a key that is none."""
    for name, values in settings.items():
        if not _NAME.fullmatch(name):
            raise StoreError(f"{name!r} is no name of a plugin")
        for key in values:
            if not _KEY.fullmatch(key):
                raise StoreError(f"{key!r} is no name of a setting: letters, digits, '_', '.' and '-'")


def merged_settings(before: PluginSettings, changes: PluginSettings) -> dict[str, Mapping[str, str]]:
    """The settings with those of the named plugins replaced; a plugin without any is left out."""
    return {name: values for name, values in {**before, **changes}.items() if values}


def listed_settings(settings: PluginSettings) -> list[str]:
    """The settings as they are given."""
    return [
        shlex.join([name, *(f"{key}={value}" for key, value in values.items())]) for name, values in settings.items()
    ]
