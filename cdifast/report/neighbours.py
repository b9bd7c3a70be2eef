"""A shot and those most similar to it, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from . import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_neighbours(
    query: NDArray[Any],
    title: str,
    images: Sequence[NDArray[Any]],
    captions: Sequence[str],
    *,
    columns: int = 7,
) -> Figure:
    """Draw the query first, in a frame, then its neighbours, nearest first.

    Parameters
    ----------
    query
        Its image (H, W), NaN where it is masked; drawn as log10(1 + counts), like all.
    title
        Caption of the query.
    images
        Images (H, W) of the neighbours.
    captions
        One for each, of a few lines.
    columns
        Images a row at most.
    """
    figure = figures.captioned_shots([query, *images], [title, *captions], None, columns=min(columns, len(images) + 1))
    first = figure.axes[0]
    first.spines[:].set_visible(True)
    first.spines[:].set(color=figures.ORANGE, linewidth=3)
    first.xaxis.label.set(color=figures.ORANGE, fontweight="bold")
    return figure


def neighbour_caption(index: int, distance: float, event: str) -> str:
    """Caption of a neighbour: which frame, how far, and its key in the experiment."""
    return f"frame {index}, {distance:.3g}\n{_shortened(event)}"


def _shortened(text: str, length: int = 28) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
