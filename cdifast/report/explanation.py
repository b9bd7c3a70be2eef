"""The figure of what a network looked at (P1, figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from . import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Contour levels, as shares of a map's highest value."""
# What lies below the lowest level stays visible, so that a reader sees what was passed over.
_FAINTEST: Final = 0.12


@figures.styled
def draw_explanations(
    images: NDArray[Any],
    heat: NDArray[np.floating[Any]],
    titles: Sequence[Sequence[str]],
    captions: Sequence[str] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> Figure:
    """Shots, one a row, with what the network saw of each class in them, one a column (P1, figure 5).

    The first column is the shot. In the others, it is as opaque as the highest contour level that the class's heat
    map reaches there, over black, and the contours are drawn as broken lines. Levels are shares of the map's own
    highest value; what speaks against the class (negative values) counts as nothing.

    Parameters
    ----------
    images
        (n, H, W) counts; drawn as log10(1 + counts).
    heat
        (n, M, H, W) heat maps on the images' pixels (`cdifast.jobs.Explainer.on_frames`).
    titles
        Text above each map, (n, M), such as the class and its probability.
    captions
        Text above each shot, (n,); None: its place in `images`.
    mask
        (H, W), True = good pixel, or None; bad pixels are grey in the first column and black in the others.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        Maps, titles or captions that do not fit the images, or no images.
    ImportError
        matplotlib is missing.
    """
    count, kinds = heat.shape[:2]
    if not count or heat.shape != (len(images), kinds, *images.shape[1:]):
        raise ValueError(f"heat: found shape {heat.shape}, expected (n, M, H, W) for images {images.shape}")
    captions = [str(index) for index in range(count)] if captions is None else captions
    if len(captions) != count or [len(row) for row in titles] != [kinds] * count:
        raise ValueError(f"titles and captions: expected {count} captions and {count} rows of {kinds} titles")
    figure = figures.new_figure(2.1 * (kinds + 1), 2.35 * count)
    grid = figure.subplots(count, kinds + 1, squeeze=False)
    for row, image, maps, names, caption in zip(grid, images, heat, titles, captions, strict=True):
        figures.draw_shot(row[0], image, mask)
        row[0].set_title(caption, loc="left")
        for axes, values, name in zip(row[1:], maps, names, strict=True):
            _draw_seen(axes, image, values, mask)
            axes.set_title(name, loc="left")
    return figure


def _draw_seen(axes: Axes, image: NDArray[Any], values: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
    """One shot, as opaque as its heat map's contour level, and the contours."""
    figures.draw_shot(axes, image, mask)
    axes.set_facecolor("black")
    seen = np.maximum(np.asarray(values, np.float64), 0)
    highest = seen.max()
    share = seen / highest if highest > 0 else seen
    opacity = np.concatenate([[_FAINTEST], LEVELS])[np.searchsorted(LEVELS, share, side="right")]
    # The top level is what the network saw best: fully opaque.
    opacity = np.where(share >= LEVELS[-1], 1.0, opacity)
    (picture,) = axes.get_images()
    picture.set_alpha(opacity if mask is None else np.where(mask, opacity, 0.0))
    if highest > 0:
        # No lines where there is no image: what a padded corner adds to a coarse map is of no interest.
        shown = share if mask is None else np.ma.masked_where(~mask, share)
        axes.contour(shown, levels=LEVELS, colors="white", linewidths=0.8, linestyles="dashed")
