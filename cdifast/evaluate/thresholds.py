"""The probability from which on a class counts as present, chosen on a validation split."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import binary_labels, numbers

Criterion = Literal["f1", "accuracy", "youden"]

DEFAULT: Final = 0.5
"""The threshold where the data do not speak for another one."""


def choose_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, criterion: Criterion = "f1", *, min_count: int = 5
) -> tuple[float, ...]:
    """The threshold of each class that serves a criterion best on a validation split.

    A label is predicted where the probability is at or above the threshold, as in
    `cdifast.evaluate.labels_from_probabilities`. Labels change only where a threshold passes one of the
    probabilities, so the middles between neighbouring probabilities are all that need be tried. P1 takes 0.5
    throughout; a rare class often never reaches that.

    0.5 stays unless another threshold is better by the criterion; of equally good ones, the nearest to 0.5 is
    taken, and of two equally near ones the higher. A class with few positives or few negatives in the split keeps
    0.5: the best of many thresholds over two or three images is chance.

    Parameters
    ----------
    labels
        True labels (N, C), 0 or 1 (or bool).
    probabilities
        (N, C) in [0, 1].
    criterion
        ``"f1"``: 2 TP / (2 TP + FP + FN). ``"accuracy"``: (TP + TN) / N. ``"youden"``: recall minus the share of
        false alarms among the negatives, TP / P - FP / (N - P), which does not depend on how frequent the class is.
    min_count
        Positives, and negatives, that a class needs for a threshold of its own; at least 1.

    Returns
    -------
    tuple of float
        C thresholds, as `cdifast.nn.weights.ModelCard` stores them; exact in float32 where the probabilities are
        float32 (or half), so that they separate the same images then.

    Raises
    ------
    ValueError
        Other shapes; a value that is no label or no probability (the first is named); an unknown criterion or
        a `min_count` below 1.
    """
    array = np.asarray(labels)
    truth = binary_labels(array, "labels", ("",) * (array.shape[1] if array.ndim == 2 else 0))
    values = numbers(probabilities, "probabilities", truth.shape, probabilities=True)
    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion: found {criterion!r}, expected one of {', '.join(get_args(Criterion))}")
    if min_count < 1:
        raise ValueError(f"min_count: found {min_count}, expected at least 1")
    return tuple(_best(truth[:, k], values[:, k], criterion, min_count) for k in range(truth.shape[1]))


def _best(truth: NDArray[np.bool_], values: NDArray[np.floating], criterion: Criterion, min_count: int) -> float:
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if min(positives, negatives) < min_count:
        return DEFAULT
    candidates = _candidates(values)
    ascending = np.argsort(values, kind="stable")
    # Images from each candidate on upwards are predicted: what lies below is missed, or rightly left out.
    below = np.searchsorted(values[ascending], candidates, side="left")
    missed = np.concatenate([[0], np.cumsum(truth[ascending])])[below]
    hit, surplus = positives - missed, negatives - (below - missed)
    if criterion == "f1":
        score = 2 * hit / (2 * hit + surplus + missed)
    elif criterion == "accuracy":
        score = (hit + negatives - surplus) / len(truth)
    else:
        # In whole numbers (times both counts), where equally good thresholds are exactly equal.
        score = hit * negatives - surplus * positives
    best = candidates[score == score.max()]
    return float(min(best.tolist(), key=lambda threshold: (abs(threshold - DEFAULT), -threshold)))


def _candidates(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """0.5, the middles between neighbouring values, and the lowest value, with which every image is predicted."""
    distinct = np.unique(values)
    low, high = distinct[:-1], distinct[1:]
    middle = low + (high - low) / 2
    # Between floats that are neighbours themselves, the middle rounds to one of them; it must be the upper.
    middle = np.where(middle > low, middle, high)
    return np.unique(np.concatenate([distinct[:1], middle, np.array([DEFAULT], values.dtype)]))
