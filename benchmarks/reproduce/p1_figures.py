"""Figures 4 and 5 of paper 1, and the studies of its tables as curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reproduce.p1_data import frames_and_labels, noisy, preparation_for
from benchmarks.reproduce.p1_numbers import FINER_LEVELS, KINDS, TABLE5, TABLE6_FINE
from benchmarks.reproduce.p1_page import Results
from benchmarks.reproduce.p1_trainings import Scale, Training, split_for
from cdifast._atomic import whole_file
from cdifast.data import prepare_frames
from cdifast.evaluate import grad_cam_plus_plus, predict_probabilities
from cdifast.labels import CLASSES
from cdifast.nn import load_classifier
from cdifast.report.explanation import draw_explanations
from cdifast.simulate.noise import LEVELS
from cdifast.train.classify import BEST_WEIGHTS

LEVEL_NAMES = {"none": "no noise", "mean": "U(0, mean)", "mean+std": "U(0, mean + std)", "max": "U(0, max)"}


def figure4(paths: Sequence[Path], size: int, shot: int | None = None) -> Any:
    """P1's figure 4: a shot with noise of the four levels, and the correlation maps of each.

    Parameters
    ----------
    shot
        Index of the frame; None: the first that is Elliptical, as in P1, where eight-fold order shows.
    """
    from matplotlib.figure import Figure

    frames, mask, labels = frames_and_labels(paths, "helium")
    if shot is None:
        shot = int(np.flatnonzero(labels[:, CLASSES.index("Elliptical")])[0])
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(2, 4)
    for column, level in enumerate(LEVELS):
        # Bounds and noise are the data set's, so all frames are made noisy and one is shown.
        image = noisy(frames, level)[shot]
        shown = np.log1p(np.where(mask, image.numpy(), np.nan) if mask is not None else image.numpy())
        axes[0, column].imshow(shown, cmap="magma", interpolation="nearest")
        axes[0, column].set_title(f"{'abcd'[column]}) {LEVEL_NAMES[level]}", fontsize=10)
        correlation = prepare_frames(image[None].numpy(), mask, preparation_for("maps", size, frames.shape[-1]))[0, 0]
        axes[1, column].imshow(correlation.numpy(), cmap="viridis", interpolation="nearest", origin="lower")
        axes[1, column].set_title(f"{'efgh'[column]}) its correlation map", fontsize=10)
        axes[1, column].set_xlabel("radius j")
        axes[1, column].set_ylabel("radius i")
    for axis in axes[0]:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(
        f"Frame {shot}, log(1 + counts); maps: order 8 where j > i, else zero lag, each triangle scaled on its own",
        fontsize=9,
    )
    return figure


def figure5(paths: Sequence[Path], scale: Scale, run: Path, seed: int = 0) -> Any:
    """P1's figure 5: five random shots each of Streak and Bent, and where the network looked for that class.

    Parameters
    ----------
    run
        Folder of the training: ResNet18 with alpha 0.2, P1's best.
    seed
        Which validation shots are drawn, out of those whose label holds the class.
    """
    frames, mask, labels = frames_and_labels(paths, "helium")
    model, _ = load_classifier(run / BEST_WEIGHTS, classes=CLASSES)
    validation = split_for(len(frames), 0).validation
    random = np.random.default_rng(seed)
    shots, columns = [], []
    for name in ("Streak", "Bent"):
        column = CLASSES.index(name)
        there = validation[labels[validation, column] == 1]
        there = there if len(there) else validation  # a handful of shots need not hold one
        chosen = random.choice(there, min(5, len(there)), replace=False)
        shots += sorted(chosen.tolist())
        columns += [column] * len(chosen)
    inputs = prepare_frames(frames[shots], mask, preparation_for("images", scale.size, frames.shape[-1]))
    classes = torch.tensor(columns)[:, None]
    # P1's last stage has 7 x 7 pixels; of a smaller input, the last one that has as many.
    stages: Any = model.stages
    stage = max((k for k in range(len(stages)) if scale.size >> (2 + k) >= 7), default=0)
    heat = grad_cam_plus_plus(model, inputs, classes, layer=stages[stage], size=(frames.shape[1], frames.shape[2]))
    probabilities = predict_probabilities(model, inputs)
    titles = [
        [f"{CLASSES[column]} {float(row[column]):.2f}"] for column, row in zip(columns, probabilities, strict=True)
    ]
    captions = [f"shot {shot}" for shot in shots]
    return draw_explanations(frames[shots], heat.numpy(), titles, captions, mask)


def studies(results: Results) -> Any:
    """Tables 4, 5 and 6 as curves, ours beside P1's, and table 6 from finer frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    (alphas, sizes), (noise, finer) = figure.subplots(2, 2)
    names = ["none", "0.2", "0.5", "1.0"]
    _points(alphas, range(len(names)), [_accuracies(results, Training(first=name)) for name in names], "C0", "ours")
    alphas.plot(range(len(names)), [0.955, 0.965, 0.960, 0.959], "x:", color="0.4", label="P1, real data")
    alphas.set_xticks(range(len(names)), ["none", "α = 0.2", "0.5", "1.0"])
    alphas.set_xlabel("log activation (table 4)")
    shares = [row.training.share for row in TABLE5.rows]
    _points(sizes, shares, [_accuracies(results, row.training) for row in TABLE5.rows], "C0", "ours")
    sizes.plot(shares, [row.metrics[0] for row in TABLE5.rows], "x:", color="0.4", label="P1, real data")
    sizes.set_xlabel("% of the training images (table 5)")
    for kind, colour in (("images", "C0"), ("maps", "C1")):
        found = [_accuracies(results, Training(kind=kind, noise=level)) for level in LEVELS]  # type: ignore[arg-type]
        _points(noise, range(len(LEVELS)), found, colour, f"ours, {kind}")
    noise.plot(range(4), [0.965, 0.954, 0.944, 0.926], "x:", color="C0", alpha=0.6, label="P1, images")
    noise.plot(range(4), [0.950, 0.948, 0.946, 0.944], "x:", color="C1", alpha=0.6, label="P1, maps")
    noise.set_xticks(range(len(LEVELS)), LEVELS)
    noise.set_xlabel("upper bound of the noise (table 6)")
    for row in TABLE6_FINE.rows[: len(KINDS)]:
        levels = [_accuracies(results, replace(row.training, noise=level)) for level in FINER_LEVELS]
        kind = row.training.kind
        _points(
            finer, range(len(FINER_LEVELS)), levels, {"images": "C0", "maps": "C1", "points": "C2"}[kind], KINDS[kind]
        )
    finer.set_xticks(range(len(FINER_LEVELS)), FINER_LEVELS)
    finer.set_xlabel("upper bound of the noise, finer frames")
    for axis in (alphas, sizes, noise, finer):
        axis.set_ylabel("highest accuracy")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _accuracies(results: Results, training: Training) -> list[float]:
    return [result["maxima"]["accuracy"] for result in results.of(training)]


def _points(axis: Any, places: Sequence[int] | range, found: Sequence[list[float]], colour: str, label: str) -> None:
    """Mean and standard deviation over seeds where there are any."""
    there = [(place, np.mean(values), np.std(values)) for place, values in zip(places, found, strict=True) if values]
    if there:
        x, mean, spread = zip(*there, strict=True)
        axis.errorbar(x, mean, spread, marker="o", capsize=3, color=colour, label=label)
