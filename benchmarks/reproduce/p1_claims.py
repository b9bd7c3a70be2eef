"""What paper 1 says of its tables, put to our numbers: paired differences with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Difference:
    """Of a pooled metric between two methods on the same validation images, over all seeds.

    Attributes
    ----------
    mean
        Mean of the seeds' differences.
    low, high
        95 % interval: percentiles over resampled seeds and, within each, resampled images.
    by_seed
        Each seed's own.
    """

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def digits(counts: Mapping[str, str]) -> NDArray[np.int64]:
    """(3, images): true positives, false positives, false negatives of each image."""
    return np.array([[int(digit, 16) for digit in counts[name]] for name in ("tp", "fp", "fn")], np.int64)


def pooled(counts: NDArray[np.int64], metric: str, classes: int) -> NDArray[np.float64]:
    """A pooled metric from counts (3, ..., images) of each image's labels.

    Parameters
    ----------
    metric
        ``accuracy``, ``precision``, ``recall`` or ``f1``; 0 where nothing was predicted or present.
    classes
        Labels of each image.
    """
    tp, fp, fn = counts.sum(-1, dtype=np.float64)
    if metric == "accuracy":
        return 1 - (fp + fn) / (counts.shape[-1] * classes)
    below = {"precision": tp + fp, "recall": tp + fn, "f1": tp + (fp + fn) / 2}[metric]
    return np.divide(tp, below, out=np.zeros_like(tp), where=below > 0)


def difference(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], metric: str, classes: int, seed: int = 0
) -> Difference:
    """First method less second, whose results are paired by seed and, within a seed, by image.

    Seeds are resampled too: a difference that rests on one lucky training shows it. With three seeds that says
    little of how trainings scatter; the seeds' own differences stand beside it.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"results: found {len(first)} and {len(second)} seeds, expected as many, and one at least")
    pairs = [(digits(a["counts"]), digits(b["counts"])) for a, b in zip(first, second, strict=True)]
    for number, (a, b) in enumerate(pairs):
        if a.shape != b.shape:
            raise ValueError(f"seed {number}: found {a.shape[1]} and {b.shape[1]} images, expected the same ones")
    own = np.array([pooled(a, metric, classes) - pooled(b, metric, classes) for a, b in pairs])
    random = np.random.default_rng(seed)
    resampled = np.empty((len(pairs), RESAMPLES))
    for number, (a, b) in enumerate(pairs):
        images = random.integers(a.shape[1], size=(RESAMPLES, a.shape[1]))
        resampled[number] = pooled(a[:, images], metric, classes) - pooled(b[:, images], metric, classes)
    seeds = random.integers(len(pairs), size=(len(pairs), RESAMPLES))
    means = np.take_along_axis(resampled, seeds, axis=0).mean(0)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(own.mean()), float(low), float(high), tuple(map(float, own)))


def time_to_reach(history: Sequence[Mapping[str, Any]], accuracy: float) -> float | None:
    """Seconds of training until the validation accuracy first reached a value; None: never."""
    reached = (entry["seconds"] for entry in history if entry["accuracy"] is not None and entry["accuracy"] >= accuracy)
    return next(reached, None)
