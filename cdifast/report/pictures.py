"""Which shots the report shows, and what it says below its figures."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdifast import jobs
from cdifast.data import Frames
from cdifast.nn import scale_triangles
from cdifast.train import TrainResult

from . import figures
from .comparison import Comparison
from .held_out import HeldOut, simulated_labels
from .similarity import Similarity

_EXAMPLES: Final = 6
_VIEWS: Final = 4
_NEIGHBOURS: Final = 5
MOST_WRONG: Final = 8
"""Most wrongly labelled shots shown."""


def draw_pictures(
    frames: Frames,
    trained: TrainResult,
    held_out: HeldOut,
    comparison: Comparison,
    settings: jobs.MapSettings,
    similarity: Similarity,
) -> dict[str, tuple[Any, str, str]]:
    """The figures of the quickstart's report.

    Parameters
    ----------
    frames
        All shots, with labels.
    trained
        The training, for its history.
    held_out
        The held-out shots and what the network says of them.
    comparison
        For the baselines' lines beside the learning curves.
    settings
        How correlation maps are made.
    similarity
        Which shots an embedding places near each other.

    Returns
    -------
    dict
        ``counts``, ``examples`` and ``curves``, ``views`` and ``similar`` where a shot shows a particle, ``wrong``
        where a label is wrong: each (figure, alternative text, caption).
    """
    classes = held_out.classes
    sets = figures.label_sets(simulated_labels(frames))
    references = {
        baseline.name: (baseline.pooled["precision"].value, baseline.pooled["recall"].value)
        for baseline in comparison.baselines
    }
    drawn: dict[str, tuple[Any, str, str]] = {
        "counts": (
            figures.class_counts(
                classes, held_out.train_labels.sum(axis=0, dtype=np.int64), held_out.labels.sum(axis=0, dtype=np.int64)
            ),
            "Bar chart of the number of training and held-out shots of each class",
            "Shots of each class: training + held out.",
        ),
        "examples": (
            figures.shots_by_label_set(
                [[frames[int(index)] for index in members[:_EXAMPLES]] for _, members in sets],
                [f"{figures.label_text(row, classes)} ({len(members)} shots)" for row, members in sets],
                frames.mask,
            ),
            "Example shots of every combination of labels",
            "The first shots of each combination of labels. Logarithm of the photon counts, each shot from its own "
            "lowest to its own highest value; grey: the central hole and the corners, where nothing is recorded.",
        ),
        "curves": (
            figures.learning_curves(trained.history, references),
            "Cross-entropy, precision and recall by epoch",
            "Left: cross-entropy; the training curve is the mean over an epoch's steps on augmented images, the "
            "held-out one is measured at the epoch's end, so it may well lie below. Right: pooled precision and recall "
            "on the held-out shots; broken and dotted lines: baselines.",
        ),
    }
    chosen = _brightest(frames, sets, classes)
    if chosen:
        images = np.stack([frames[index] for index in chosen])
        unwrapped, maps = jobs.unwrapped_and_maps(images, frames.mask, settings)
        radii = (settings.r_min, (min(frames.shape[1:]) - 1) / 2 if settings.r_max is None else settings.r_max)
        drawn["views"] = (
            figures.three_views(
                images,
                unwrapped.numpy(),
                scale_triangles(maps, "log").numpy(),
                [f"shot {index}: {figures.label_text(simulated_labels(frames)[index], classes)}" for index in chosen],
                frames.mask,
                radii=radii,
                order=settings.order,
            ),
            "Detector image, unwrapped view and correlation map of some shots",
            "The brightest shot of the most frequent combinations of labels, one a row. Left: as recorded. Middle: "
            "unwrapped, radius downwards, angle across, counter-clockwise from the right. Right: the correlation map, "
            f"zero lag below the diagonal, order {settings.order} above it, each half on a scale of its own. Every "
            "ring had its mean subtracted and was divided by its standard deviation, so that the bright inner rings "
            "do not hide the others.",
        )
        drawn["similar"] = _similar(frames, chosen, similarity, classes)
    wrong = held_out.wrong()
    if len(wrong):
        drawn["wrong"] = (
            figures.captioned_shots(
                [frames[int(held_out.indices[row])] for row in wrong[:MOST_WRONG]],
                [_mistake(held_out, int(row)) for row in wrong[:MOST_WRONG]],
                frames.mask,
            ),
            "The held-out shots with the largest errors, with true and predicted labels",
            "The wrongly labelled shots whose cross-entropy is highest, the worst first.",
        )
    return drawn


def _brightest(
    frames: Frames, sets: list[tuple[NDArray[np.uint8], NDArray[np.int64]]], classes: tuple[str, ...]
) -> list[int]:
    """The brightest shot of each of the most frequent combinations of labels that show a particle."""
    with_particle = [members for row, members in sets if not row[classes.index("Empty")]]
    good = np.ones(frames.shape[1:], bool) if frames.mask is None else frames.mask
    return [
        max((int(index) for index in members), key=lambda index: float(frames[index][good].sum()))
        for members in with_particle[:_VIEWS]
    ]


def _similar(
    frames: Frames, chosen: list[int], similarity: Similarity, classes: tuple[str, ...]
) -> tuple[Any, str, str]:
    labels = simulated_labels(frames)
    rows = [[index, *similarity.nearest[index, :_NEIGHBOURS].tolist()] for index in chosen]
    shown = [index for row in rows for index in row]
    captions = [
        "\n".join([f"{'shot' if index in chosen else 'nearest: shot'} {index}", *_wrapped(labels[index], classes)])
        for index in shown
    ]
    return (
        figures.captioned_shots([frames[index] for index in shown], captions, frames.mask, columns=len(rows[0])),
        "Some shots, each with the shots whose embeddings are nearest",
        "One query a row, on the left; then the shots whose embeddings are nearest, the nearest first, with the true "
        "labels, of which the encoder knows nothing.",
    )


def _wrapped(row: NDArray[np.uint8], classes: tuple[str, ...]) -> list[str]:
    return textwrap.wrap(figures.label_text(row, classes), 26)


def _mistake(held_out: HeldOut, row: int) -> str:
    lines = [f"shot {held_out.indices[row]}"]
    for word, labels in (("true", held_out.labels), ("predicted", held_out.predicted)):
        text = f"{word}: {figures.label_text(labels[row], held_out.classes)}"
        lines += textwrap.wrap(text, 34, subsequent_indent="  ")
    return "\n".join(lines)
