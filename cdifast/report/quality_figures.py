"""Figures of how good scores are: precision-recall curves and reliability diagrams, a panel for each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .figures import BLUE, INK, ORANGE, SKY, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cdifast.evaluate import RankingCurve, RankingCurves, Reliability, ReliabilityCurve

_COLUMNS: Final = 4
_LINES: Final = ((BLUE, "-"), (ORANGE, (0, (5, 2))), (SKY, (0, (1, 1.5))), (INK, (0, (5, 2, 1, 2))))


@styled
def precision_recall_curves(methods: Mapping[str, RankingCurves]) -> Figure:
    """Precision against recall, one panel for all labels and one for each class.

    Parameters
    ----------
    methods
        Curves (`cdifast.evaluate.ranking_curves`) of one to four methods on the same images, by name; the legend has
        the names where there are several.
    """
    if not 1 <= len(methods) <= len(_LINES):
        raise ValueError(f"methods: found {len(methods)}, expected 1 to {len(_LINES)} that one can tell apart")
    first = next(iter(methods.values()))
    figure, panels = _panels(1 + len(first.per_class), legend=len(methods) > 1)
    for panel, number in zip(panels, range(-1, len(first.per_class)), strict=True):
        curves = {name: found.pooled if number < 0 else found.per_class[number] for name, found in methods.items()}
        _draw_ranking(panel, curves)
    _label_outer(panels, "recall", "precision")
    if len(methods) > 1:
        handles = [line for line in panels[0].lines if not str(line.get_label()).startswith("_")]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(methods))
    return figure


@styled
def reliability_diagrams(found: Reliability) -> Figure:
    """Observed frequency against predicted probability, one panel for all labels and one for each class.

    Bars are the 95 % intervals of each bin's frequency (Wilson 1927), which have a width at 0 and 1 too.

    Parameters
    ----------
    found
        As `cdifast.evaluate.reliability` gives it.
    """
    curves = (found.pooled, *found.per_class)
    figure, panels = _panels(len(curves), legend=False)
    for panel, curve in zip(panels, curves, strict=True):
        _draw_reliability(panel, curve)
    _label_outer(panels, "predicted probability", "observed frequency")
    return figure


def _draw_ranking(axes: Axes, curves: Mapping[str, RankingCurve]) -> None:
    some = next(iter(curves.values()))
    axes.set_title(some.name, loc="left")
    if not some.support:
        _say(axes, f"none among {some.images} images", 0.5)
        return
    # What scores without information would have.
    axes.axhline(some.support / some.images, color=INK, linewidth=0.8, alpha=0.6)
    for (name, curve), (colour, style) in zip(curves.items(), _LINES, strict=False):
        # Steps, as average precision counts them: a line between two points would promise what no threshold gives.
        axes.step(curve.recall, curve.precision, where="post", color=colour, linestyle=style, linewidth=1.5, label=name)
    areas = ", ".join(f"{curve.average_precision:.2f}" for curve in curves.values())
    _say(axes, f"area {areas}\n{some.support} of {some.images}", 0.12)


def _draw_reliability(axes: Axes, curve: ReliabilityCurve) -> None:
    axes.set_title(curve.name, loc="left")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.6)
    if not len(curve.counts):
        _say(axes, "no labels", 0.5)
        return
    low, high = _wilson(curve.observed, curve.counts)
    axes.vlines(curve.predicted, low, high, color=SKY, linewidth=1.5)
    axes.plot(curve.predicted, curve.observed, "o-", color=BLUE, markersize=3.5, linewidth=1.2)
    # The lower right is empty unless the forecasts are far too high.
    _say(axes, f"error {curve.expected_error:.3f}", 0.06, right=True)


def _wilson(share: NDArray[np.float64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % score interval of a binomial share."""
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half


def _panels(count: int, *, legend: bool) -> tuple[Figure, list[Axes]]:
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = new_figure(2.35 * columns + 0.4, 2.2 * rows + 0.4 + 0.3 * legend)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).reshape(-1).tolist()
    for unused in grid[count:]:
        unused.set_axis_off()
    for axes in grid[:count]:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.grid(color="#e4e4e4", linewidth=0.6)
    return figure, grid[:count]


def _label_outer(panels: Sequence[Axes], below: str, left: str) -> None:
    """Names of the axes at the left column and below the last panel of each column."""
    for number, axes in enumerate(panels):
        if number % _COLUMNS == 0:
            axes.set_ylabel(left)
        if number + _COLUMNS >= len(panels):
            axes.set_xlabel(below)
            axes.tick_params(labelbottom=True)


def _say(axes: Axes, text: str, height: float, *, right: bool = False) -> None:
    patch: dict[str, Any] = {"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
    axes.text(
        0.96 if right else 0.05,
        height,
        text,
        transform=axes.transAxes,
        fontsize=8.5,
        color=INK,
        ha="right" if right else "left",
        bbox=patch,
    )
