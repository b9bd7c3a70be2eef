"""The k nearest images, with ties shared fairly, and the classification by their vote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distances import Metric, check_embeddings, distance_rows
from .json_number import json_number
from .selection import check_evaluation_labels


def neighbour_weights(distances: NDArray[np.float64], first: int, k: int) -> NDArray[np.float64]:
    """How much each image counts among the k nearest of each row; rows add up to k.

    1 for every image nearer than the k-th, an equal share of the places left for those as far as it, 0 beyond: the
    mean over all orders of the tied images.

    Parameters
    ----------
    distances : ndarray of float64, shape (n, N)
        Rows ``first`` to ``first + n`` of the matrix of all distances.
    first : int
        The image of the first row; each image is excluded from its own neighbours.
    k : int
        1 to N - 1.

    Returns
    -------
    ndarray of float64, shape (n, N)

    Raises
    ------
    ValueError
        k out of range.
    """
    count = distances.shape[1]
    if not 1 <= k < count:
        raise ValueError(f"k: found {k}, expected 1 to {count - 1}, the images but one")
    others = distances.copy()
    rows = np.arange(len(others))
    others[rows, first + rows] = np.inf
    kth = np.partition(others, k - 1, axis=1)[:, k - 1 : k]
    nearer, tied = others < kth, others == kth
    left = (k - nearer.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    return nearer + tied * left


@dataclass(frozen=True)
class NeighbourVote:
    """Leave-one-out classification by the nearest neighbours.

    Attributes
    ----------
    precision, recall : float
        Macro averages over the classes with images; a class that is never predicted has precision 0.
    classes : tuple of str
    per_class : tuple of (precision, recall, support)
        NaN for a class without images.
    predictions : ndarray of uint8, shape (N, C)
    k : int
    metric : str
    """

    precision: float
    recall: float
    classes: tuple[str, ...]
    per_class: tuple[tuple[float, float, int], ...]
    predictions: NDArray[np.uint8]
    k: int
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary without `predictions`; NaN (not measurable) becomes None."""

        return {
            "precision": json_number(self.precision),
            "recall": json_number(self.recall),
            "k": self.k,
            "metric": self.metric,
            "per_class": {
                name: {"precision": json_number(precision), "recall": json_number(recall), "support": support}
                for name, (precision, recall, support) in zip(self.classes, self.per_class, strict=True)
            },
        }


def neighbour_vote(
    embeddings: Any,
    labels: ArrayLike,
    k: int = 13,
    metric: Metric = "cosine",
    *,
    classes: Sequence[str] | None = None,
    block: int | None = None,
) -> NeighbourVote:
    """Give each image the labels that at least half of its k nearest others carry.

    Each class is voted on alone; images tied at the k-th place share it (`neighbour_weights`).

    Parameters
    ----------
    embeddings, labels, k, metric, classes, block
        As for `cdifast.evaluate.overlap`.

    Returns
    -------
    NeighbourVote

    Raises
    ------
    ValueError
        As `cdifast.evaluate.overlap`.
    """
    count = check_embeddings(embeddings, metric)
    truth, names = check_evaluation_labels(labels, count, classes)
    predicted = np.zeros(truth.shape, np.uint8)
    for start, distances in distance_rows(embeddings, metric, block):
        share = neighbour_weights(distances, start, k) @ truth / k
        predicted[start : start + len(distances)] = share >= 0.5 - 1e-12  # shares of ties are rounded
    per_class = []
    for column, guess in zip(truth.T > 0, predicted.T > 0, strict=True):
        support, hits = int(column.sum()), int((column & guess).sum())
        precision = hits / int(guess.sum()) if guess.any() else 0.0
        per_class.append((precision, hits / support, support) if support else (math.nan, math.nan, 0))
    measured = [(precision, recall) for precision, recall, support in per_class if support]
    precision, recall = np.mean(measured, axis=0) if measured else (math.nan, math.nan)
    return NeighbourVote(float(precision), float(recall), names, tuple(per_class), predicted, k, metric)
