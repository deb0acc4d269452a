"""A picture of the table, light and dark: how far each row is from its target, and every side from the floor."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import FLOOR, Row


class Theme(NamedTuple):
    """The colors of a picture."""

    page: str
    text: str
    grid: str
    met: str
    missed: str
    peers: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1f2328", "#d0d7de", "#1a7f37", "#cf222e", ("#0550ae", "#953800", "#6639ba", "#57606a", "#b35900")
)
DARK = Theme(
    "#0d1117", "#e6edf3", "#30363d", "#3fb950", "#ff7b72", ("#79c0ff", "#ffa657", "#d2a8ff", "#b1bac4", "#f2cc60")
)
MARKERS = "osD^vP"
MOST = 100
"""How many times as good as its target a row is drawn at most."""
ROW_HEIGHT = 0.27
"""Inches of a row."""


def plot(rows: Sequence[Row], path: str) -> None:
    """F.png and F-dark.png."""
    import matplotlib

    matplotlib.use("Agg")
    _draw(rows, path, LIGHT)
    place = Path(path)
    _draw(rows, str(place.with_name(f"{place.stem}-dark{place.suffix}")), DARK)


def _draw(rows: Sequence[Row], path: str, theme: Theme) -> None:
    from matplotlib import pyplot, rc_context

    judged = [row for row in rows if row.target is not None]
    floored = [row for row in rows if row.from_floor is not None]
    inked = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
    settings: Any = {**dict.fromkeys(inked, theme.text), "font.size": 9}
    with rc_context({**settings, "figure.facecolor": theme.page, "axes.facecolor": theme.page}):
        panels = [(part, draw) for part, draw in ((judged, _targets), (floored, _floors)) if part]
        heights = [len(part) + 3 for part, _ in panels]
        figure, axes = pyplot.subplots(
            len(panels), 1, figsize=(10, ROW_HEIGHT * sum(heights) + 1), height_ratios=heights, squeeze=False
        )
        for (part, draw), panel in zip(panels, axes[:, 0], strict=True):
            _prepare(panel, part, theme)
            draw(panel, part, theme)
        figure.tight_layout(h_pad=2)
        figure.savefig(path, dpi=120)
        pyplot.close(figure)


def _prepare(axes: Any, rows: Sequence[Row], theme: Theme) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _targets(axes: Any, rows: Sequence[Row], theme: Theme) -> None:
    """The share of each target that was reached, on a scale of its own: from the line to the right is better."""
    for place, row in enumerate(rows):
        share = _share(row)
        color = theme.met if row.met else theme.missed
        axes.plot([1, share], [place, place], color=color, linewidth=5, solid_capstyle="butt")
        side = 4 if share >= 1 else -4
        note = f"{share:.3g}" if share < MOST else f"{MOST} or more"
        note += "" if row.met else ", not met"
        align = {"ha": "left" if share >= 1 else "right", "va": "center"}
        axes.annotate(note, (share, place), (side, 0), textcoords="offset points", color=color, fontsize=8, **align)
    axes.axvline(1, color=theme.text, linewidth=1)
    axes.margins(x=0.25)  # room for what stands beside a bar
    axes.set_title("Times as good as its target", loc="left", fontsize=11)


def _floors(axes: Any, rows: Sequence[Row], theme: Theme) -> None:
    """How many times slower than the floor each side is."""
    # Where ours is not the name of our side, the others are ours as well, at another size.
    others = dict.fromkeys(side for row in rows if "ours" in row.sides for side in row.sides if _is_peer(side))
    for number, side in enumerate(("ours", *others)):
        points = [(_times(row, side), place) for place, row in enumerate(rows) if _times(row, side)]
        if side == "ours":
            look = {"color": theme.met, "marker": "|", "markersize": 11, "markeredgewidth": 3, "zorder": 3}
        else:
            color, marker = theme.peers[(number - 1) % len(theme.peers)], MARKERS[(number - 1) % len(MARKERS)]
            look = {"color": color, "marker": marker, "markersize": 5, "fillstyle": "none"}
        axes.plot(*zip(*points, strict=True), linestyle="none", label=side, **look)
    axes.axvline(1, color=theme.text, linewidth=1)
    axes.margins(x=0.05)
    axes.set_title("Times slower than the floor", loc="left", fontsize=11)
    below = -30 / (72 * ROW_HEIGHT * len(rows))  # 30 points, of which a row has so many
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, below), ncols=5, frameon=False)


def _is_peer(side: str) -> bool:
    return side != FLOOR and not side.startswith("ours")


def _share(row: Row) -> float:
    target = row.target or 0.0
    # A figure may be none at all, of memory that grew say.
    return min(MOST, row.figure / target if row.at_least else target / max(row.figure, target / MOST))


def _times(row: Row, side: str) -> float | None:
    """How many times slower than the floor a side was, in the middle one of the rounds."""
    if side == "ours":
        return row.from_floor
    if side not in row.rounds:
        return None
    ratio = statistics.median(a / b for a, b in zip(row.rounds[side], row.rounds[FLOOR], strict=True))
    return 1 / ratio if row.unit.endswith("/s") else ratio
