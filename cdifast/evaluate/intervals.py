"""How far a metric would move with another sample of images: bootstrap intervals, alone and between two methods.

The bootstrap over images of Efron and Tibshirani (1993), percentile method: images are drawn anew with replacement,
all their labels together, since the labels of one image depend on each other. An interval says what another held-out
sample would change, not what another training run would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Indices drawn at once: 64 MiB of them and of the weights made from them.
_CHUNK = 1 << 22


class Interval(NamedTuple):
    """A measured value and its interval; arrays where the metric gives several numbers.

    Attributes
    ----------
    value
        Measured on the images as they are.
    low, high
        Percentiles over the resamples; NaN where the value, or every resample, is not measurable. Resamples in which
        the metric is NaN (a class without any image, for example) have no say.
    """

    value: Any
    low: Any
    high: Any


def bootstrap(
    metric: Callable[..., ArrayLike],
    *arrays: ArrayLike,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any metric of images.

    The metric is called once a resample. For one that is a function of sums over images (counts of true positives,
    for example), `bootstrap_sums` gives the same interval hundreds of times faster.

    Parameters
    ----------
    metric
        From arrays of N images, ``metric(*arrays)``, to a number or an array of numbers; NaN where not measurable.
    *arrays
        Each with an entry for each of the N images along its first axis, such as labels and probabilities.
    resamples
        At least 1.
    level
        Share of the resamples inside the interval, between 0 and 1.
    seed
        Same seed, same resamples, for any metric and for `bootstrap_sums` too.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        No arrays, arrays of different lengths, no images, or a number out of range.
    """
    given = [np.asarray(array) for array in arrays]
    images = _images(given)
    _check(resamples, level)
    value = np.asarray(metric(*given), dtype=np.float64)
    drawn = np.empty((resamples, *value.shape))
    for start, indices in _resampled_indices(images, resamples, seed):
        for row, chosen in enumerate(indices, start):
            drawn[row] = metric(*(array[chosen] for array in given))
    return _interval(value, drawn, level)


def paired_bootstrap(
    metric: Callable[[Any, Any], ArrayLike],
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a metric's difference between two methods on the same images, ``metric(first) - metric(second)``.

    Both are measured on the same resampled images, so that what makes a sample hard or easy for both drops out: the
    interval is narrower than two separate ones suggest, and the methods differ where it leaves out 0.

    Parameters
    ----------
    metric
        ``metric(labels, predictions)``, as for `bootstrap`.
    labels
        True labels, N along the first axis.
    first, second
        Each method's predictions, labels or probabilities, for the N images.
    resamples, level, seed
        As for `bootstrap`.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        As `bootstrap`.
    """

    def difference(truth: Any, one: Any, other: Any) -> NDArray[np.float64]:
        return np.asarray(metric(truth, one), np.float64) - np.asarray(metric(truth, other), np.float64)

    return bootstrap(difference, labels, first, second, resamples=resamples, level=level, seed=seed)


def bootstrap_sums(
    statistic: Callable[[NDArray[np.float64]], ArrayLike],
    rows: ArrayLike,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a function of sums over images; all resamples in a few matrix products.

    Parameters
    ----------
    statistic
        From sums (..., K), leading axes kept, to (..., M) or (...): for precision,
        ``lambda sums: sums[..., 0] / (sums[..., 0] + sums[..., 1])``.
    rows
        What each image adds, (N, K): its true positives and false positives.
    resamples, level, seed
        As for `bootstrap`.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        As `bootstrap`; rows that are not (N, K).
    """
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ValueError(f"rows: found shape {array.shape}, expected (N, K)")
    _images([array])
    _check(resamples, level)
    sums = resampled_sums(array, resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(statistic(array.sum(axis=0, dtype=np.float64)), np.float64)
        return _interval(value, np.asarray(statistic(sums), np.float64), level)


def resampled_sums(rows: NDArray[Any], resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Sums over resampled images of what each adds: rows (N, ...) to (resamples, ...) float64, exact for counts."""
    images = len(rows)
    flat = rows.reshape(images, -1).astype(np.float64)
    sums = np.empty((resamples, flat.shape[1]))
    for start, indices in _resampled_indices(images, resamples, seed):
        offsets = indices + images * np.arange(len(indices))[:, None]
        weights = np.bincount(offsets.reshape(-1), minlength=offsets.size).reshape(indices.shape)
        sums[start : start + len(indices)] = weights.astype(np.float64) @ flat
    return sums.reshape(resamples, *rows.shape[1:])


def _resampled_indices(images: int, resamples: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Indices (n, images) of some resamples, and the number of the first; the chunks do not change what is drawn."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // images)
    for start in range(0, resamples, step):
        yield start, rng.integers(images, size=(min(step, resamples - start), images))


def _interval(value: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> Interval:
    if drawn.shape[1:] != value.shape:
        raise ValueError(f"statistic: found shape {drawn.shape} for the resamples, {value.shape} for the images")
    tail = (1 - level) / 2
    measurable = np.isfinite(drawn).any(axis=0) & np.isfinite(value)
    # A column of NaN alone would make NumPy warn; it is overwritten anyway.
    filled = np.where(measurable, drawn, 0.0)
    low, high = (np.where(measurable, edge, math.nan) for edge in np.nanquantile(filled, (tail, 1 - tail), axis=0))
    if value.ndim == 0:
        return Interval(float(value), float(low), float(high))
    return Interval(value, low, high)


def _images(arrays: list[NDArray[Any]]) -> int:
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise ValueError("arrays: expected at least one, each with an entry an image along its first axis")
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) > 1:
        raise ValueError(f"arrays: found lengths {', '.join(map(str, lengths))}, expected as many images in each")
    if not lengths[0]:
        raise ValueError("arrays: found no images, expected at least one")
    return lengths[0]


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples: found {resamples}, expected at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, expected a number between 0 and 1")
