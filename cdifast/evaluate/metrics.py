"""Multi-label metrics: pooled over all labels, as in P1's tables, and class by class (P1, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from cdifast.labels import CLASSES

from ._checks import binary_labels, json_number
from .rules import RuleViolations, rule_violations


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class.

    Attributes
    ----------
    name
        The class.
    accuracy, precision, recall
        See `classification_metrics`.
    support
        Images that truly belong to the class.
    predicted
        Images predicted to belong to it.
    """

    name: str
    accuracy: float
    precision: float
    recall: float
    support: int
    predicted: int


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of a multi-label prediction.

    Attributes
    ----------
    accuracy, precision, recall
        Over all N x C labels pooled (micro average): P1's overall metrics.
    images
        Number of images N.
    per_class
        Metrics of each class, in column order.
    violations
        Exclusion rules that the predictions break.
    """

    accuracy: float
    precision: float
    recall: float
    images: int
    per_class: tuple[ClassMetrics, ...]
    violations: RuleViolations

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary; NaN (not measurable) becomes None."""
        return {
            "accuracy": json_number(self.accuracy),
            "precision": json_number(self.precision),
            "recall": json_number(self.recall),
            "images": self.images,
            "per_class": [
                {key: json_number(value) if isinstance(value, float) else value for key, value in asdict(entry).items()}
                for entry in self.per_class
            ],
            "violations_per_image": self.violations.per_image,
            "violations_by_rule": {rule: len(rows) for rule, rows in self.violations.by_rule.items()},
        }


def classification_metrics(
    labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = CLASSES
) -> ClassificationMetrics:
    """Accuracy, precision and recall of multi-label predictions.

    Accuracy = (TP + TN) / all, precision = TP / (TP + FP), recall = TP / (TP + FN); true and false positives
    and negatives are counted over all labels of all images for the pooled values, over one column for a
    class's.

    Conventions where a ratio is 0/0: a precision without any positive prediction is 0 if there was
    something to find (P1's all-negative example), NaN if there was nothing either; a recall without any
    true positive label is NaN (nothing was there to recall), as are all metrics of zero images. NaN means
    "not measurable", and is left for the reader to see rather than averaged away.

    Computed from four counts a class; scikit-learn serves as the oracle in the tests, so that training
    needs no extra package for its validation.

    Parameters
    ----------
    labels
        True labels (N, C), 0 or 1 (or bool).
    predictions
        Predicted labels (N, C), 0 or 1 (or bool), that is, probabilities after the threshold.
    classes
        Names of the C columns.

    Returns
    -------
    ClassificationMetrics

    Raises
    ------
    ValueError
        Other shapes, or values other than 0 and 1 (probabilities, for example).
    """
    truth = binary_labels(labels, "labels", classes)
    predicted = binary_labels(predictions, "predictions", classes)
    if truth.shape != predicted.shape:
        raise ValueError(f"predictions: found shape {predicted.shape}, the labels have {truth.shape}")
    true_positive = (truth & predicted).sum(axis=0)
    false_positive = (~truth & predicted).sum(axis=0)
    false_negative = (truth & ~predicted).sum(axis=0)
    images = len(truth)
    per_class = []
    for index, name in enumerate(classes):
        counts = int(true_positive[index]), int(false_positive[index]), int(false_negative[index])
        accuracy, precision, recall = _ratios(*counts, images)
        per_class.append(ClassMetrics(name, accuracy, precision, recall, counts[0] + counts[2], counts[0] + counts[1]))
    pooled = _ratios(int(true_positive.sum()), int(false_positive.sum()), int(false_negative.sum()), truth.size)
    return ClassificationMetrics(*pooled, images, tuple(per_class), rule_violations(predicted, classes))


def _ratios(true_positive: int, false_positive: int, false_negative: int, total: int) -> tuple[float, float, float]:
    """Accuracy, precision and recall from counts."""
    support = true_positive + false_negative
    predicted = true_positive + false_positive
    accuracy = (total - false_positive - false_negative) / total if total else math.nan
    precision = true_positive / predicted if predicted else (0.0 if support else math.nan)
    recall = true_positive / support if support else math.nan
    return accuracy, precision, recall
