"""Whether probabilities mean what they say: of the labels given 0.8, are 80 % true?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES

from ._checks import binary_labels, json_number, numbers

Binning = Literal["uniform", "quantile"]


@dataclass(frozen=True)
class ReliabilityCurve:
    """Probabilities of one class, or of all labels pooled, beside the frequencies that came true.

    Attributes
    ----------
    name
        The class, or ``"all labels"``.
    predicted, observed
        Mean probability and share of true labels in each bin that holds any, (n,) float64.
    counts
        Labels in these bins, (n,) int64.
    expected_error
        Expected calibration error: mean over all labels of ``|predicted - observed|`` of their bin. NaN without
        labels. Never 0 for a finite sample: a perfect forecast of few labels also misses its bins' shares by chance.
    brier
        Mean squared difference of probability and label; NaN without labels.
    """

    name: str
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    counts: NDArray[np.int64]
    expected_error: float
    brier: float


@dataclass(frozen=True)
class Reliability:
    """Reliability of every class and of all labels pooled.

    Attributes
    ----------
    per_class
        In column order.
    pooled
        Over all N x C labels. Classes that err in opposite directions cancel in it.
    """

    per_class: tuple[ReliabilityCurve, ...]
    pooled: ReliabilityCurve

    def to_dict(self) -> dict[str, Any]:
        """Errors and curves as JSON-serialisable dictionary; NaN becomes None."""
        return {"pooled": _to_dict(self.pooled), "per_class": [_to_dict(curve) for curve in self.per_class]}


def reliability(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str] = CLASSES,
    *,
    bins: int = 10,
    binning: Binning = "uniform",
) -> Reliability:
    """Reliability curves and expected calibration errors (Naeini et al. 2015), class by class and pooled.

    Parameters
    ----------
    labels
        True labels (N, C), 0 or 1 (or bool).
    probabilities
        (N, C) in [0, 1].
    classes
        Names of the C columns.
    bins
        Bins of probability, at least 1; empty ones are left out of the curves.
    binning
        ``"uniform"``: of equal width, so that most labels of a rare class share the lowest. ``"quantile"``: of equally
        many labels, as far as equal probabilities let themselves be parted.

    Returns
    -------
    Reliability

    Raises
    ------
    ValueError
        Other shapes, labels other than 0 and 1, values that are no probabilities, no bins or an unknown binning.
    """
    truth = binary_labels(labels, "labels", classes)
    values = numbers(probabilities, "probabilities", truth.shape, probabilities=True).astype(np.float64)
    if bins < 1:
        raise ValueError(f"bins: found {bins}, expected at least 1")
    if binning not in ("uniform", "quantile"):
        raise ValueError(f"binning: found {binning!r}, expected 'uniform' or 'quantile'")
    per_class = tuple(_curve(name, truth[:, k], values[:, k], bins, binning) for k, name in enumerate(classes))
    return Reliability(per_class, _curve("all labels", truth.reshape(-1), values.reshape(-1), bins, binning))


def _curve(
    name: str, truth: NDArray[np.bool_], values: NDArray[np.float64], bins: int, binning: Binning
) -> ReliabilityCurve:
    if not len(values):
        nothing = np.empty(0)
        return ReliabilityCurve(name, nothing, nothing, np.empty(0, np.int64), math.nan, math.nan)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    if binning == "quantile":
        inner = np.quantile(values, inner)
    place = np.searchsorted(inner, values)
    counts = np.bincount(place, minlength=bins)
    filled = counts > 0
    predicted = np.bincount(place, weights=values, minlength=bins)[filled] / counts[filled]
    observed = np.bincount(place, weights=truth, minlength=bins)[filled] / counts[filled]
    error = float(np.average(np.abs(predicted - observed), weights=counts[filled]))
    return ReliabilityCurve(name, predicted, observed, counts[filled], error, float(np.mean((values - truth) ** 2)))


def _to_dict(curve: ReliabilityCurve) -> dict[str, Any]:
    return {
        "name": curve.name,
        "expected_error": json_number(curve.expected_error),
        "brier": json_number(curve.brier),
        "predicted": curve.predicted.tolist(),
        "observed": curve.observed.tolist(),
        "counts": curve.counts.tolist(),
    }
