"""How well scores rank the images of a class before the others, at every threshold at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES

from ._checks import binary_labels, json_number, numbers


@dataclass(frozen=True)
class RankingCurve:
    """Precision against recall of one class, or of all labels pooled.

    Attributes
    ----------
    name
        The class, or ``"all labels"``.
    precision, recall
        At each threshold, (n + 1,) float64, recall falling; the last point is precision 1 at recall 0. Empty where
        no image belongs to the class.
    thresholds
        (n,), rising: images with a score at or above it are predicted.
    average_precision
        Sum over the thresholds of precision times the step of recall; for scores that say nothing it is the
        share of images that belong to the class. NaN where none does.
    roc_auc
        Probability that an image of the class has a higher score than another one (equal ones count half). NaN
        where one of the kinds is missing.
    support, images
        Images (pooled: labels) that truly belong to the class, and all.
    """

    name: str
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.floating]
    average_precision: float
    roc_auc: float
    support: int
    images: int


@dataclass(frozen=True)
class RankingCurves:
    """Curves of every class and of all labels pooled.

    Attributes
    ----------
    per_class
        In column order.
    pooled
        Over all N x C labels.
    """

    per_class: tuple[RankingCurve, ...]
    pooled: RankingCurve

    @property
    def mean_average_precision(self) -> float:
        """Mean over the classes that occur; NaN where none does."""
        measured = [curve.average_precision for curve in self.per_class if curve.support]
        return float(np.mean(measured)) if measured else math.nan

    def to_dict(self) -> dict[str, Any]:
        """The areas as JSON-serialisable dictionary; NaN becomes None."""
        return {
            "average_precision": json_number(self.pooled.average_precision),
            "mean_average_precision": json_number(self.mean_average_precision),
            "roc_auc": json_number(self.pooled.roc_auc),
            "per_class": [
                {
                    "name": curve.name,
                    "average_precision": json_number(curve.average_precision),
                    "roc_auc": json_number(curve.roc_auc),
                    "support": curve.support,
                }
                for curve in self.per_class
            ],
        }


def ranking_curves(labels: ArrayLike, scores: ArrayLike, classes: Sequence[str] = CLASSES) -> RankingCurves:
    """Precision-recall curve, average precision and area under the ROC curve, class by class and pooled.

    scikit-learn computes (``pip install 'cdifast[eval]'``). In P1's labels most classes are rare: there the area
    under the ROC curve is near 1 for scores that are hardly of use, and average precision tells more.

    Parameters
    ----------
    labels
        True labels (N, C), 0 or 1 (or bool).
    scores
        (N, C), probabilities or any finite scores, higher for the class; pooling compares scores across classes, so
        it means something only where these are of one kind, as probabilities are.
    classes
        Names of the C columns.

    Returns
    -------
    RankingCurves

    Raises
    ------
    ValueError
        Other shapes, labels other than 0 and 1, scores that are not finite.
    ImportError
        scikit-learn is missing.
    """
    truth = binary_labels(labels, "labels", classes)
    values = numbers(scores, "scores", truth.shape, probabilities=False)
    per_class = tuple(_curve(name, truth[:, k], values[:, k]) for k, name in enumerate(classes))
    return RankingCurves(per_class, _curve("all labels", truth.reshape(-1), values.reshape(-1)))


def _curve(name: str, truth: NDArray[np.bool_], values: NDArray[np.floating]) -> RankingCurve:
    try:
        from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
    except ImportError as error:
        raise ImportError("curves need scikit-learn: pip install 'cdifast[eval]'") from error
    support, images = int(truth.sum()), len(truth)
    if not support:
        nothing = np.empty(0)
        return RankingCurve(name, nothing, nothing, nothing, math.nan, math.nan, 0, images)
    precision, recall, thresholds = precision_recall_curve(truth, values)
    area = float(roc_auc_score(truth, values)) if support < images else math.nan
    average = float(average_precision_score(truth, values))
    return RankingCurve(name, precision, recall, thresholds, average, area, support, images)
