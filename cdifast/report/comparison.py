"""The network beside its baselines on held-out images: values, bootstrap intervals, differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.evaluate import ClassificationMetrics, classification_metrics
from cdifast.evaluate.intervals import resampled_sums
from cdifast.labels import CLASSES

METRICS: Final = ("accuracy", "precision", "recall")


class Estimate(NamedTuple):
    """A measured number and its 95 % interval; all None where the number is undefined.

    Attributes
    ----------
    value
        Measured on the held-out images as they are.
    low, high
        2.5 and 97.5 % quantiles over the bootstrap.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Method:
    """One classifier on the held-out images.

    Attributes
    ----------
    name
        For people to read.
    metrics
        As `cdifast.evaluate.classification_metrics` counts them; the report shows undefined precisions
        (nothing predicted) as such and not by P1's convention of 0.
    pooled
        Accuracy, precision and recall over all labels.
    lead
        The network's value minus this method's, by metric; empty for the network itself.
    """

    name: str
    metrics: ClassificationMetrics
    pooled: dict[str, Estimate]
    lead: dict[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary, fractions between 0 and 1 (differences between -1 and 1)."""
        return {
            "pooled": {name: estimate._asdict() for name, estimate in self.pooled.items()},
            "network_minus_this": {name: estimate._asdict() for name, estimate in self.lead.items()},
            "per_class": [
                {
                    "name": entry.name,
                    "precision": defined_precision(entry.precision, entry.predicted),
                    "recall": _defined(entry.recall),
                    "support": entry.support,
                    "predicted": entry.predicted,
                }
                for entry in self.metrics.per_class
            ],
            "images_breaking_a_rule": len(self.metrics.violations.indices),
            "violations_by_rule": {rule: len(rows) for rule, rows in self.metrics.violations.by_rule.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """The network and its baselines on the same held-out images.

    Attributes
    ----------
    network
        The network.
    baselines
        The others, in the order given.
    images
        Held-out images N.
    resamples
        Bootstrap resamples behind each interval.
    """

    network: Method
    baselines: tuple[Method, ...]
    images: int
    resamples: int

    @property
    def methods(self) -> tuple[Method, ...]:
        """Network first, then the baselines."""
        return (self.network, *self.baselines)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary."""
        return {
            "images": self.images,
            "bootstrap_resamples": self.resamples,
            "methods": {method.name: method.to_dict() for method in self.methods},
        }


def compare(
    labels: ArrayLike,
    network: ArrayLike,
    baselines: Mapping[str, ArrayLike],
    classes: Sequence[str] = CLASSES,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Measure a network and its baselines on the same images, pooled as in P1's tables and class by class.

    Intervals come from the bootstrap over images (Efron and Tibshirani 1993, percentile method): images are
    drawn anew with replacement, all their labels together, since the labels of one image depend on each
    other. Every resample serves network and baselines alike, so the intervals of the differences are those
    of paired measurements. They say how much another held-out sample would change the numbers, not how much
    another training run would.

    Parameters
    ----------
    labels
        True labels (N, C), 0 or 1.
    network
        The network's labels (N, C), 0 or 1.
    baselines
        Labels (N, C) of each baseline, by name.
    classes
        Names of the C columns.
    resamples
        Bootstrap resamples, at least 1.
    seed
        Of the resampling.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        No images, no resamples, or as `cdifast.evaluate.classification_metrics`.
    """
    truth = np.asarray(labels)
    if len(truth) == 0:
        raise ValueError("labels: found no images, expected at least one")
    if resamples < 1:
        raise ValueError(f"resamples: found {resamples}, expected at least 1")
    predictions = [np.asarray(network), *(np.asarray(values) for values in baselines.values())]
    metrics = [classification_metrics(truth, values, classes) for values in predictions]
    counts = np.stack([_counts(truth, values) for values in predictions], axis=1)
    measured = _ratios(counts.sum(axis=0))
    resampled = _ratios(resampled_sums(counts, resamples, seed))
    methods = []
    for index, (name, values) in enumerate(zip(("network", *baselines), metrics, strict=True)):
        pooled = {key: _estimate(measured[index, k], resampled[:, index, k]) for k, key in enumerate(METRICS)}
        lead = {
            key: _estimate(measured[0, k] - measured[index, k], resampled[:, 0, k] - resampled[:, index, k])
            for k, key in enumerate(METRICS)
            if index > 0
        }
        methods.append(Method(name, values, pooled, lead))
    return Comparison(methods[0], tuple(methods[1:]), len(truth), resamples)


def defined_precision(precision: float, predicted: int) -> float | None:
    """The precision, or None where nothing was predicted and it hence does not exist."""
    return _defined(precision) if predicted else None


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _counts(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """(N, 4): each image's true positives, false positives, false negatives and labels in all."""
    true, positive = truth != 0, predicted != 0
    cells = (true & positive, ~true & positive, true & ~positive, np.ones_like(true))
    return np.stack([cell.sum(axis=1) for cell in cells], axis=1)


def _ratios(counts: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 4) counts to (..., 3) accuracy, precision, recall; NaN where the denominator is 0."""
    hit, surplus, missed, total = np.moveaxis(counts.astype(np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        return np.stack([(total - surplus - missed) / total, hit / (hit + surplus), hit / (hit + missed)], axis=-1)


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    if math.isnan(value):
        return Estimate(None, None, None)
    # A resample without any image of the kind has no such ratio, and no say.
    low, high = np.nanquantile(resampled, (0.025, 0.975)) if np.isfinite(resampled).any() else (value, value)
    return Estimate(float(value), float(low), float(high))
