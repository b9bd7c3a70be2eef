"""The figures of the report, each a matplotlib `Figure` of its own (no global state, no display)."""

from __future__ import annotations

import functools
import io
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cdifast.data import Frames
    from cdifast.jobs import MapSettings
    from cdifast.train import EpochRecord

P = ParamSpec("P")

# Okabe and Ito's palette (2008), told apart by readers with any common colour vision; "ink" for what is not data.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
SKY: Final = "#56B4E9"
INK: Final = "#444444"
MASKED: Final = "#9a9a9a"
COLOUR_MAP: Final = "viridis"

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a class name is a dollar sign
}


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib in the report's style, for drawing and for rendering: ticks are made only when rendered."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("the report's figures need matplotlib: pip install 'cdifast[eval]'") from error
    with matplotlib.rc_context(_STYLE):
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The same function, drawing in the report's style."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return in_style


def png(figure: Figure, *, dpi: int = 130) -> bytes:
    """Render a figure of this module as PNG."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def label_text(row: NDArray[Any], classes: Sequence[str]) -> str:
    """The classes of one row of labels (C,), as one line of text; "no label" where there is none."""
    return ", ".join(name for name, value in zip(classes, row, strict=True) if value) or "no label"


def label_sets(labels: NDArray[np.uint8]) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """The combinations of labels that occur, the most frequent first, each with the images that have it.

    Parameters
    ----------
    labels
        (N, C) of 0 and 1.

    Returns
    -------
    list of (row, indices)
        The combination (C,) and its images, int64 ascending. Equally frequent ones come in the order of
        their first classes.
    """
    rows, inverse = np.unique(labels, axis=0, return_inverse=True)
    members = [np.flatnonzero(inverse.reshape(-1) == k) for k in range(len(rows))]
    # np.unique sorts ascending: backwards, the set with the earlier class leads among equals.
    order = sorted(range(len(rows)), key=lambda k: (-len(members[k]), -k))
    return [(rows[k], members[k]) for k in order]


def draw_shot(axes: Axes, image: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
    """Draw one detector image, log10(1 + counts), from its own lowest to its own highest value; bad pixels grey.

    Parameters
    ----------
    axes
        Where to draw.
    image
        (H, W) counts; values below zero are drawn as zero.
    mask
        (H, W), True = good pixel; None: all are.
    """
    shown = np.ma.masked_invalid(np.log10(1 + np.maximum(np.asarray(image, np.float64), 0)))
    if mask is not None:
        shown = np.ma.masked_where(~mask, shown)
    axes.imshow(shown, cmap=_colour_map(), interpolation="nearest")
    _bare(axes)


@styled
def draw_frames(frames: Frames, count: int = 8) -> Figure:
    """Some frames of a stack, evenly spread over it, with their labels where it has any.

    Parameters
    ----------
    frames
        The stack; its mask is drawn in grey.
    count
        How many frames at most.
    """
    chosen = _evenly_spread(len(frames), count)
    return captioned_shots([frames[index] for index in chosen], [_title(frames, k) for k in chosen], frames.mask)


@styled
def draw_maps(frames: Frames, settings: MapSettings | None = None, count: int = 3) -> Figure:
    """Some frames of a stack, evenly spread over it: detector image, unwrapped view and correlation map.

    Parameters
    ----------
    frames
        The stack; its mask is used.
    settings
        How the maps are made.
    count
        How many frames at most.
    """
    from cdifast.jobs import MapMaker
    from cdifast.nn import scale_triangles

    maker = MapMaker(frames.shape[1:], frames.mask, settings)
    chosen = _evenly_spread(len(frames), count)
    images = np.stack([frames[index] for index in chosen])
    unwrapped, maps = maker(images)
    radii = maker.radii()
    return three_views(
        images,
        unwrapped.masked_fill(maker.weight == 0, math.nan).numpy(),
        scale_triangles(maps, "log").masked_fill(maker.cell_weight == 0, math.nan).numpy(),
        [_title(frames, index) for index in chosen],
        frames.mask,
        radii=(float(radii[0]), float(radii[-1])),
        order=maker.settings.order,
    )


@styled
def shots_by_label_set(
    images: Sequence[Sequence[NDArray[Any]]], titles: Sequence[str], mask: NDArray[np.bool_] | None
) -> Figure:
    """A row of example shots for each set of labels.

    Parameters
    ----------
    images
        For each set, its example images (H, W); rows may differ in length.
    titles
        What to write above each row.
    mask
        (H, W), True = good pixel, or None.
    """
    columns = max(map(len, images))
    figure = new_figure(1.55 * columns, 1.8 * len(images))
    rows = figure.subfigures(len(images), 1, squeeze=False)[:, 0]
    for row, examples, title in zip(rows, images, titles, strict=True):
        row.suptitle(title, x=0.01, ha="left", fontsize=10)
        for axes, image in zip(row.subplots(1, columns, squeeze=False)[0], _padded(examples, columns), strict=True):
            if image is None:
                axes.set_axis_off()
            else:
                draw_shot(axes, image, mask)
    return figure


@styled
def three_views(
    images: NDArray[Any],
    unwrapped: NDArray[Any],
    maps: NDArray[Any],
    titles: Sequence[str],
    mask: NDArray[np.bool_] | None,
    *,
    radii: tuple[float, float],
    order: int,
) -> Figure:
    """Shots as the detector sees them, unwrapped, and as correlation maps, one shot a row.

    Parameters
    ----------
    images
        (n, H, W) counts.
    unwrapped
        (n, n_radial, n_angular), axes radius and angle; not a number where there is no value.
    maps
        (n, n_radial, n_radial), both triangles already scaled to [0, 1] (`cdifast.nn.scale_triangles`); not a
        number where there is no value.
    titles
        Labels of each shot.
    mask
        (H, W), True = good pixel, or None.
    radii
        Radii of the first and the last row of `unwrapped`, in pixels.
    order
        Order of the maps' upper triangle.
    """
    count = len(images)
    figure = new_figure(9.2, 2.75 * count + 0.3)
    grid = figure.subplots(count, 3, squeeze=False, width_ratios=(1, 1.45, 1.2))
    low, high = radii
    for (shot, view, correlation), image, polar, values, title in zip(
        grid, images, unwrapped, maps, titles, strict=True
    ):
        draw_shot(shot, image, mask)
        shot.set_title(title, loc="left")
        view.imshow(
            np.ma.masked_invalid(np.log10(1 + np.maximum(polar, 0))),
            cmap=_colour_map(),
            extent=(0, 360, high, low),
            aspect="auto",
            interpolation="nearest",
        )
        view.set(xlabel="angle (degrees)", ylabel="radius (pixels)", xticks=range(0, 361, 90))
        drawn = correlation.imshow(
            np.ma.masked_invalid(values),
            cmap=_colour_map(),
            extent=(low, high, high, low),
            interpolation="nearest",
            vmin=0,
            vmax=1,
        )
        correlation.set(xlabel="radius j (pixels)", ylabel="radius i (pixels)")
        # On the picture itself, on a patch of its own: the reader sees at once which triangle is which.
        patch = {"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.85, "edgecolor": "none"}
        place = {"transform": correlation.transAxes, "fontsize": 8.5, "color": "black", "bbox": patch}
        correlation.text(0.04, 0.05, "zero lag", ha="left", va="bottom", **place)
        correlation.text(0.96, 0.95, f"order {order}", ha="right", va="top", **place)
        figure.colorbar(drawn, ax=correlation, label="scaled, each triangle", shrink=0.9)
        for axes in (view, correlation):
            axes.spines[["top", "right"]].set_visible(True)
    for axes, heading in zip(grid[0], ("", "unwrapped", "correlation map"), strict=True):
        axes.set_title(heading or axes.get_title(loc="left"), loc="left")
    return figure


@styled
def class_counts(classes: Sequence[str], train: NDArray[np.int64], held_out: NDArray[np.int64]) -> Figure:
    """How many shots each class has, split into training and held-out ones.

    Parameters
    ----------
    classes
        Names of the C classes.
    train, held_out
        Shots of each class in either split, (C,).
    """
    figure = new_figure(7.2, 0.32 * len(classes) + 0.9)
    axes = figure.subplots()
    rows = np.arange(len(classes))
    axes.barh(rows, train, color=BLUE, label="training")
    axes.barh(rows, held_out, left=train, color=SKY, label="held out", hatch="//", edgecolor="white", linewidth=0)
    widest = max(int((train + held_out).max()), 1)
    for row, first, second in zip(rows, train, held_out, strict=True):
        text = f"{first} + {second}" if first + second else "none simulated"
        axes.text(float(first + second + 0.01 * widest), float(row), text, va="center", fontsize=9, color=INK)
    axes.set_yticks(rows, list(classes))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * widest)
    axes.set_xlabel("shots (one shot may have several labels)")
    axes.legend(loc="lower right")
    return figure


@styled
def learning_curves(
    history: Sequence[EpochRecord], references: Mapping[str, tuple[float | None, float | None]]
) -> Figure:
    """Cross-entropy, and pooled precision and recall, by epoch.

    Parameters
    ----------
    history
        Records of the epochs; what was not measured is left out.
    references
        Precision and recall of each baseline, by name, drawn as level lines; None is left out.
    """
    figure = new_figure(9.2, 3.9)
    loss, quality = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    loss.plot(epochs, [record.train_cross_entropy for record in history], color=BLUE, label="training (augmented)")
    loss.plot(*_measured(history, "validation_cross_entropy"), "o-", markersize=3.5, color=ORANGE, label="held out")
    loss.set(xlabel="epoch", ylabel="sigmoid cross-entropy", ylim=(0, None))
    loss.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    # Colour tells the metric, the line's style the method; only measured epochs of the network have markers.
    broken = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
    for name, colour, column in (("precision", BLUE, 0), ("recall", ORANGE, 1)):
        quality.plot(*_measured(history, name), "o-", markersize=3.5, color=colour, label=f"{name}, network")
        for (baseline, values), style in zip(references.items(), itertools.cycle(broken), strict=False):
            value = values[column]
            if value is not None:
                quality.axhline(value, color=colour, linestyle=style, linewidth=1.3, label=f"{name}, {baseline}")
    quality.set(xlabel="epoch", ylabel="pooled over held-out labels", ylim=(-0.02, 1.02))
    quality.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    for axes in (loss, quality):
        axes.set_xlim(0.5, max(epochs) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    return figure


@styled
def captioned_shots(
    images: Sequence[NDArray[Any]], captions: Sequence[str], mask: NDArray[np.bool_] | None, *, columns: int = 4
) -> Figure:
    """Single shots with a caption of a few lines each.

    Parameters
    ----------
    images
        At least one image (H, W).
    captions
        Text below each.
    mask
        (H, W), True = good pixel, or None.
    columns
        Shots a row at most.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = new_figure(2.35 * columns, rows * (2.2 + 0.17 * lines))
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, image, caption in zip(
        grid, _padded(images, len(grid)), [*captions, *[""] * (len(grid) - len(captions))], strict=True
    ):
        if image is None:
            axes.set_axis_off()
        else:
            draw_shot(axes, image, mask)
            axes.set_xlabel(caption, fontsize=8.5, loc="left")
    return figure


def _evenly_spread(total: int, count: int) -> list[int]:
    """At most `count` of the indices below `total`, first and last among them."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()


def _title(frames: Frames, index: int) -> str:
    labels = (
        "" if frames.labels is None else "\n" + textwrap.fill(label_text(frames.labels[index], frames.class_names), 34)
    )
    return f"frame {index}{labels}"


def _measured(history: Sequence[EpochRecord], name: str) -> tuple[list[int], list[float]]:
    """Epochs and values of a quantity, where there is one."""
    points = [(record.epoch, getattr(record, name)) for record in history if getattr(record, name) is not None]
    return [epoch for epoch, _ in points], [value for _, value in points]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _colour_map() -> Any:
    """Perceptually uniform, with grey for what is masked."""
    from matplotlib import colormaps

    return colormaps[COLOUR_MAP].with_extremes(bad=MASKED)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _padded(images: Sequence[NDArray[Any]], count: int) -> list[NDArray[Any] | None]:
    return [*images, *[None] * (count - len(images))]
