"""Figures 1 and 3 of paper 2: which images count as similar, by several measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.reproduce.p2_data import Shots
from cdifast.evaluate import P2_CLASSES

QUERIES: Final[tuple[tuple[str, ...], ...]] = (
    ("Streak", "Bent"),
    ("Streak", "Bent", "Layered"),
    ("Elliptical", "Double rings"),
)
"""Class combinations of P2's figure 3; where none is in the data, the last class alone."""


def figure3(shots: Shots, nearest: Mapping[str, Sequence[Sequence[int]]], seed: int = 0) -> Any:
    """Three shots and the four nearest of each by several methods, with labels and overlap.

    Parameters
    ----------
    nearest
        From the method's name to the nearest of each shot.
    seed
        Which shot of each combination is shown, drawn at random as P2's.
    """
    from matplotlib.figure import Figure

    queries = [_query(shots.labels, names, seed) for names in QUERIES]
    count = len(next(iter(nearest.values()))[0])
    height = 1.45 * len(queries) + 0.4
    figure = Figure(figsize=(1.15 * (1 + count * len(nearest)), height), layout="constrained")
    panels: Any = figure.subfigures(1, 1 + len(nearest), width_ratios=[1, *[count] * len(nearest)])
    left, *groups = panels
    left.suptitle("query", fontsize=9, fontweight="bold")
    for axis, query in zip(left.subplots(len(queries), 1, squeeze=False)[:, 0], queries, strict=True):
        _draw(axis, shots, query, _names(shots.labels[query]), "tab:blue")
    for group, (method, found) in zip(groups, nearest.items(), strict=True):
        group.suptitle(method, fontsize=9, fontweight="bold")
        axes = group.subplots(len(queries), count, squeeze=False)
        for line, query in zip(axes, queries, strict=True):
            for axis, other in zip(line, found[query], strict=True):
                score = _overlap(shots.labels[query], shots.labels[other])
                text = f"{score:.2f}  {_names(shots.labels[other])}"
                _draw(axis, shots, other, text, "tab:green" if score >= 0.5 else "tab:orange")
    return figure


def figure1(shots: Shots, distances: Mapping[str, Sequence[float]], triple: tuple[int, int, int]) -> Any:
    """P2's figure 1: two shots that mean the same and one that does not, and what measures say.

    Parameters
    ----------
    distances
        From the measure's name to the distances of a and b, of a and c, and the median of all.
    triple
        a, b, c: a and b share their labels, a and c share none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.9), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.8])
    for axis, name, shot in zip(axes[:3], "abc", triple, strict=True):
        _draw(axis, shots, shot, f"{name}: {_names(shots.labels[shot])}", "black")
    lines = [
        (measure, f"{near / typical:.2f}", f"{far / typical:.2f}", near < far)
        for measure, (near, far, typical) in distances.items()
    ]
    axes[3].axis("off")
    table = axes[3].table(
        [line[:3] for line in lines],
        colLabels=["distance / median", "a, b", "a, c"],
        loc="center",
        cellLoc="left",
        colWidths=[0.64, 0.18, 0.18],
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for number, (*_, agrees) in enumerate(lines, 1):
        near, far = table[number, 1], table[number, 2]
        near.set_facecolor("tab:green" if agrees else "tab:orange")
        far.set_facecolor("tab:orange" if agrees else "tab:green")
    return figure


def pick_triple(labels: NDArray[np.uint8], seed: int = 0) -> tuple[int, int, int]:
    """Two bent streaks and an ellipse that is neither, drawn at random: not chosen by what a measure says of them."""
    random = np.random.default_rng(seed)
    column = {name: labels[:, index].astype(bool) for index, name in enumerate(P2_CLASSES)}
    alike = np.flatnonzero(column["Streak"] & column["Bent"])
    other = np.flatnonzero(column["Elliptical"] & ~column["Streak"] & ~column["Bent"])
    if len(alike) < 2 or not len(other):
        raise ValueError("labels: found too few bent streaks or ellipses for figure 1")
    a, b = random.choice(alike, 2, replace=False)
    return int(a), int(b), int(random.choice(other))


def _query(labels: NDArray[np.uint8], names: Sequence[str], seed: int) -> int:
    wanted = np.array([name in names for name in P2_CLASSES])
    found = np.flatnonzero((labels.astype(bool) == wanted).all(axis=1))
    if not len(found):
        found = np.flatnonzero(labels[:, P2_CLASSES.index(names[-1])])
    if not len(found):
        found = np.arange(len(labels))
    return int(np.random.default_rng(seed).choice(found))


def _overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float((a & b).sum() / max(a.sum(), b.sum(), 1))


def _names(labels: NDArray[np.uint8]) -> str:
    return ", ".join(name for name, there in zip(P2_CLASSES, labels, strict=True) if there) or "none"


def _draw(axis: Any, shots: Shots, shot: int, text: str, colour: str) -> None:
    image = np.log1p(shots.frames[shot].astype(np.float64))
    axis.imshow(image if shots.good is None else np.where(shots.good, image, np.nan), cmap="magma")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(text.replace(", ", "\n"), fontsize=6, loc="left", color=colour)
    for spine in axis.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(1.5)
