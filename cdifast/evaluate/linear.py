"""P2's linear evaluation protocol: how well a linear classifier tells the classes apart in an embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .distances import as_matrix
from .json_number import json_number
from .selection import check_evaluation_labels

FOLDS = 5
"""Parts of the cross-validation (P2)."""


@dataclass(frozen=True)
class LinearEvaluation:
    """Precision and recall of the linear evaluation.

    Attributes
    ----------
    classes : tuple of str
    support : tuple of int
        Images of each class.
    seeds : tuple of int
    precisions, recalls : ndarray of float64, shape (seeds, C)
        Means over the folds; NaN in the columns of classes that cannot be measured: fewer than five images carry
        them, or fewer than five do not.
    """

    classes: tuple[str, ...]
    support: tuple[int, ...]
    seeds: tuple[int, ...]
    precisions: NDArray[np.float64]
    recalls: NDArray[np.float64]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """(C,): which classes could be measured."""
        return np.asarray(~np.isnan(self.precisions).any(axis=0))

    @property
    def precision(self) -> float:
        """Macro average over the measured classes, mean over the seeds: P2's Table 1. NaN if there is none."""
        return self._macro(self.precisions)[0]

    @property
    def recall(self) -> float:
        """As `precision`."""
        return self._macro(self.recalls)[0]

    @property
    def precision_spread(self) -> float:
        """Standard deviation of the macro average over the seeds (n - 1); NaN for one seed."""
        return self._macro(self.precisions)[1]

    @property
    def recall_spread(self) -> float:
        """As `precision_spread`."""
        return self._macro(self.recalls)[1]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary; NaN (not measurable) becomes None."""
        per_class = {}
        for index, name in enumerate(self.classes):
            entry: dict[str, Any] = {"support": self.support[index], "measured": bool(self.measured[index])}
            for key, values in (("precision", self.precisions), ("recall", self.recalls)):
                mean, spread = _mean_and_spread(values[:, index])
                entry[key], entry[f"{key}_spread"] = json_number(mean), json_number(spread)
            per_class[name] = entry
        return {
            "precision": json_number(self.precision),
            "precision_spread": json_number(self.precision_spread),
            "recall": json_number(self.recall),
            "recall_spread": json_number(self.recall_spread),
            "seeds": list(self.seeds),
            "folds": FOLDS,
            "per_class": per_class,
        }

    def _macro(self, values: NDArray[np.float64]) -> tuple[float, float]:
        if not self.measured.any():
            return math.nan, math.nan
        return _mean_and_spread(values[:, self.measured].mean(axis=1))


def linear_evaluation(
    embeddings: Any,
    labels: ArrayLike,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    classes: Sequence[str] | None = None,
) -> LinearEvaluation:
    """P2's linear evaluation protocol ("Training and linear evaluation strategy").

    For every class, a perceptron (scikit-learn's ``SGDClassifier(loss="perceptron", eta0=1,
    learning_rate="invscaling", penalty="l2", alpha=1e-4)``) is trained on the standardised embedding, in five-fold
    stratified cross-validation; precision and recall are averaged over the folds, then over the classes, for each
    seed. The paper leaves open, and here is decided:

    - mean and standard deviation are those of the training folds, so that nothing of the test fold is used;
    - folds are shuffled, and a seed decides both them and the order in which the perceptron sees the images;
    - a fold's precision without any positive prediction is 0;
    - a class that fewer than five images carry, or fewer than five do not, cannot be split into five folds: it is
      reported as not measured (NaN) and left out of the averages.

    For neighbours without meaning (uniform noise, the real labels) it gives 0.22 and 0.30; P2 has 0.23 and 0.27.

    Parameters
    ----------
    embeddings : array_like or Tensor, shape (N, d) or (S, N, d)
        One for all seeds, or one for each of the S seeds (P2 trains each method five times).
    labels : array_like, shape (N, C)
        0 or 1: for P2 its seven classes (`p2_selection`).
    seeds : sequence of int
        Non-negative; the result is a function of them, embeddings and labels alone.
    classes : sequence of str, optional
        Names of the columns; None: `P2_CLASSES` for seven.

    Returns
    -------
    LinearEvaluation

    Raises
    ------
    ValueError
        Shapes that do not fit, no seed, labels other than 0 and 1, NaN or infinity in an embedding.
    """
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or min(seeds) < 0:
        raise ValueError(f"seeds: found {seeds}, expected at least one, none negative")
    runs = _each_seed(embeddings, len(seeds))
    truth, names = check_evaluation_labels(labels, len(runs[0]), classes)
    scores = np.full((2, len(seeds), truth.shape[1]), math.nan)
    support = truth.sum(axis=0).astype(int)
    for run, seed in enumerate(seeds):
        for index in np.flatnonzero(np.minimum(support, len(truth) - support) >= FOLDS):
            scores[:, run, index] = _cross_validated(runs[run], truth[:, index] > 0, seed)
    return LinearEvaluation(names, tuple(int(total) for total in support), seeds, scores[0], scores[1])


def _each_seed(embeddings: Any, count: int) -> list[NDArray[Any]]:
    """One array (N, d) for each seed."""
    dimensions = embeddings.dim() if isinstance(embeddings, torch.Tensor) else np.ndim(embeddings)
    if dimensions != 3:
        return [as_matrix(embeddings, "embeddings")] * count
    if len(embeddings) != count:
        raise ValueError(f"embeddings: found {len(embeddings)} runs for {count} seeds")
    return [as_matrix(run, f"embeddings[{index}]") for index, run in enumerate(embeddings)]


def _cross_validated(embeddings: NDArray[Any], truth: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """Precision and recall of one class, means over the folds."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    precisions, recalls = [], []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(embeddings, truth):
        scaler = StandardScaler().fit(embeddings[train])
        perceptron = SGDClassifier(
            loss="perceptron", eta0=1, learning_rate="invscaling", penalty="l2", alpha=1e-4, random_state=seed
        ).fit(scaler.transform(embeddings[train]), truth[train])
        predicted = perceptron.predict(scaler.transform(embeddings[test]))
        hits = int((predicted & truth[test]).sum())
        precisions.append(hits / int(predicted.sum()) if predicted.any() else 0.0)
        recalls.append(hits / int(truth[test].sum()))
    return float(np.mean(precisions)), float(np.mean(recalls))


def _mean_and_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan
