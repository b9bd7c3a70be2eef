"""Which images to label next: those the network is unsure of, no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Measure = Literal["entropy", "margin"]


def label_uncertainty(
    probabilities: ArrayLike, thresholds: Sequence[float] | float = 0.5, measure: Measure = "entropy"
) -> NDArray[np.float64]:
    """How unsure a network is of each image's labels, from 0 to 1.

    Parameters
    ----------
    probabilities
        (N, C) in [0, 1].
    thresholds
        One for all classes or one for each; only ``"margin"`` looks at them.
    measure
        ``"entropy"``: mean over the classes of the entropy of each label, in bits; high where many labels are open.
        ``"margin"``: 1 where the probability of some class lies at its threshold, 0 where all are as far from theirs
        as can be; high where a single label is about to flip.

    Returns
    -------
    numpy.ndarray
        (N,) float64.

    Raises
    ------
    ValueError
        Another shape, another number of thresholds, values that are no probabilities, or an unknown measure.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"probabilities: found shape {values.shape}, expected (N, C) with C at least 1")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("probabilities: found values outside [0, 1], or NaN")
    if measure == "entropy":
        shares = np.stack([values, 1 - values])
        # p log p is 0 at p = 0.
        logarithms = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
        return np.asarray(-(shares * logarithms).sum(axis=0).mean(axis=1))
    if measure != "margin":
        raise ValueError(f"measure: found {measure!r}, expected 'entropy' or 'margin'")
    limits = np.asarray(thresholds, np.float64)
    if limits.ndim and limits.shape != values.shape[1:]:
        raise ValueError(f"thresholds: found {limits.size}, expected 1 or {values.shape[1]}, one a class")
    room = np.where(values >= limits, 1 - limits, limits)
    distance = np.divide(np.abs(values - limits), room, where=room > 0, out=np.zeros_like(values))
    return np.asarray(1 - distance.min(axis=1))


def most_uncertain(
    uncertainty: ArrayLike, limit: int, *, first: ArrayLike | None = None, exclude: ArrayLike = ()
) -> NDArray[np.int64]:
    """The most uncertain images, the most uncertain first; of equally uncertain ones, in their own order.

    Parameters
    ----------
    uncertainty
        (N,), higher for less sure.
    limit
        How many at most.
    first
        (N,) bool: images that come before all others, whatever their uncertainty (broken rules, for example).
    exclude
        Indices of images that are left out (labelled already).

    Returns
    -------
    numpy.ndarray
        int64 indices.
    """
    values = np.asarray(uncertainty, np.float64)
    leading = np.zeros(len(values), bool) if first is None else np.asarray(first, bool)
    order = np.lexsort((-values, ~leading))
    left_out = np.zeros(len(values), bool)
    left_out[np.asarray(exclude, np.int64)] = True
    return np.asarray(order[~left_out[order]][:limit], np.int64)


def spread_out(
    features: ArrayLike,
    count: int,
    *,
    first: ArrayLike | None = None,
    taken: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    near: float = 0.1,
) -> NDArray[np.int64]:
    """Choose images that are far from each other: greedy k-centre (Gonzalez 1985; Sener and Savarese 2018).

    The weightiest image is chosen (the first of equal ones; with `taken`, the one farthest from those), then again and
    again the one farthest from all that were chosen. Without weights, no other choice covers the images with circles
    of less than half the radius. Near-duplicates of chosen ones come last, only where the others do not suffice.

    Parameters
    ----------
    features
        (N, D), of features of one scale.
    count
        How many; all, if there are fewer.
    first
        (N,) bool: images that are chosen before all others, near-duplicates excepted.
    taken
        (M, D): features of images that were chosen before.
    weight
        (N,), not negative: the farthest by distance times weight is chosen, so that of images equally far the weightier
        comes first, and images of little weight hardly at all. None: all alike.
    near
        Images closer than this share of the typical distance between two images (the root of the mean square) are
        near-duplicates.

    Returns
    -------
    numpy.ndarray
        int64 indices (rows of `features`), in the order of the choice.

    Raises
    ------
    ValueError
        Features of another shape.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"features: found shape {rows.shape}, expected (N, D)")
    leading = np.zeros(len(rows), bool) if first is None else np.asarray(first, bool)
    # The mean square distance of two rows is twice the sum of the variances.
    limit = near * np.sqrt(2 * rows.var(axis=0).sum()) if len(rows) else 0.0
    value = np.ones(len(rows)) if weight is None else np.asarray(weight, np.float64)
    # Before anything is taken, all are equally far.
    nearest = np.full(len(rows), np.finfo(np.float64).max / 4)
    for row in np.empty((0, rows.shape[1])) if taken is None else np.asarray(taken, np.float64):
        nearest = np.minimum(nearest, np.linalg.norm(rows - row, axis=1))
    chosen: list[int] = []
    free = np.ones(len(rows), bool)
    for group, least in ((leading, limit), (~leading, limit), (np.ones(len(rows), bool), -1.0)):
        while len(chosen) < count:
            open_ = free & group & (nearest > least)
            if not open_.any():
                break
            index = int(np.where(open_, nearest * value, -1.0).argmax())
            chosen.append(index)
            free[index] = False
            nearest = np.minimum(nearest, np.linalg.norm(rows - rows[index], axis=1))
    return np.array(chosen, np.int64)
