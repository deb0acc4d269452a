"""What is left to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable


def left_to_collector(again: Callable[[], object], times: int) -> list[str]:
    """The names of our types of which each of some calls leaves one, or more, to the collector. `again` makes so many
    calls."""
    again()  # what is made once is made
    gc.collect()
    gc.disable()
    try:
        again()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("oo.")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    return sorted(name for name in set(found) if found.count(name) >= times)
