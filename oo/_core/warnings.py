"""Where a warning points: at the caller of the library."""

from __future__ import annotations

import sys


def outside() -> int:
    """The stacklevel for `warnings.warn` that names the first caller outside the library."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith("oo."):
        depth, frame = depth + 1, frame.f_back
    return depth
