"""The README's plot: every ratio beside what is asked for."""

from __future__ import annotations

from pathlib import Path

from .results import Results
from .rows import ROWS
from .tables import times

_REACHED, _BELOW, _ASKED = "#2a6f97", "#c1666b", "#222222"


def draw(results: Results, path: Path) -> None:
    """Write a PNG; a row that was not measured has no bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.42 * len(ROWS) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(reversed(ROWS)):
        ratio = results.ratio(row)
        if ratio is not None:
            axes.barh(place, ratio, height=0.6, color=_REACHED if ratio >= row.target else _BELOW)
            axes.annotate(
                f"{times(ratio)}x",
                (max(ratio, row.target), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.plot([row.target] * 2, [place - 0.4, place + 0.4], color=_ASKED, lw=1.5)
    labels = [f"{_plain(row.work)}\nagainst {_plain(row.against)}" for row in reversed(ROWS)]
    axes.set_yticks(range(len(ROWS)), labels, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(left=0.25)
    axes.margins(x=0.2)
    axes.axvline(1, color="0.6", lw=0.8, zorder=0)
    axes.set_xlabel("time of the fastest peer / ours; black: what is asked for")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _plain(text: str) -> str:
    return text.replace("`", "")
