"""Distances between embeddings, in blocks of rows so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Metric = Literal["cosine", "euclidean", "correlation", "wasserstein", "precomputed"]

BLOCK_NUMBERS = 1 << 23
"""Distances held at once (64 MB)."""


def pairwise_distances(a: Any, b: Any = None, metric: Metric = "cosine") -> NDArray[np.float64]:
    """All distances between two sets of embeddings, computed in float64.

    - ``"cosine"``: 1 - a.b / (|a| |b|); 1 where a vector is zero (as scikit-learn).
    - ``"euclidean"``: |a - b|.
    - ``"correlation"``: the cosine distance after each vector's own mean is subtracted; 1 where a vector is constant.
    - ``"wasserstein"``: Wasserstein-2 distance between Gaussians with diagonal covariance,
      sqrt(|m_a - m_b|^2 + |s_a - s_b|^2) (P2's measure for the VAE). An embedding holds the means, then the standard
      deviations: `join_gaussians`.

    Parameters
    ----------
    a : array_like or Tensor, shape (M, d)
        Embeddings, finite.
    b : array_like or Tensor, shape (N, d), optional
        The others; None: ``a``, and the diagonal is exactly 0.
    metric : str
        See above.

    Returns
    -------
    ndarray of float64, shape (M, N)

    Raises
    ------
    ValueError
        Other shapes, NaN or infinity (the row is named), an unknown metric, or negative standard deviations.
    """
    if metric == "precomputed":
        raise ValueError('metric: found "precomputed", expected one that can be computed')
    left = _prepare(a, metric, "a")
    right = left if b is None else _prepare(b, metric, "b")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"b: found {right.shape[1]} numbers an embedding, a has {left.shape[1]}")
    distances = _between(left, right, metric)
    if b is None:
        np.fill_diagonal(distances, 0.0)
    return distances


def distance_rows(embeddings: Any, metric: Metric, block: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows of the matrix of all distances, a block at a time: (index of the first row, block (n, N) float64).

    Parameters
    ----------
    embeddings : array_like or Tensor
        ``(N, d)``; with metric "precomputed" the distances ``(N, N)`` themselves, NaN nowhere.
    metric : str
        As for `pairwise_distances`, or "precomputed".
    block : int, optional
        Rows at once; None: as many as 64 MB hold.

    Raises
    ------
    ValueError
        As `pairwise_distances`, at the first row asked for.
    """
    if metric == "precomputed":
        prepared = as_matrix(embeddings, "distances")
        if prepared.shape[0] != prepared.shape[1]:
            raise ValueError(f"distances: found shape {prepared.shape}, expected (N, N)")
    else:
        prepared = _prepare(embeddings, metric, "embeddings")
    count = len(prepared)
    block = block or max(1, BLOCK_NUMBERS // max(count, 1))
    for start in range(0, count, block):
        rows = prepared[start : start + block]
        yield start, rows.astype(np.float64) if metric == "precomputed" else _between(rows, prepared, metric)


def join_gaussians(mean: Any, sigma: Any) -> NDArray[np.float64]:
    """Means and standard deviations (N, d) as one embedding (N, 2 d) for the metric "wasserstein".

    The W2 distance between diagonal Gaussians is the Euclidean one between these.

    Raises
    ------
    ValueError
        Shapes that differ, or a negative standard deviation.
    """
    mean, sigma = as_matrix(mean, "mean"), as_matrix(sigma, "sigma")
    if mean.shape != sigma.shape:
        raise ValueError(f"sigma: found shape {sigma.shape}, expected that of the means, {mean.shape}")
    joined = np.concatenate([mean, sigma], axis=1).astype(np.float64)
    _check_sigma(joined)
    return joined


def as_matrix(values: Any, name: str) -> NDArray[Any]:
    """A finite array (N, d) of floats from an array or a tensor."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().float().numpy() if values.dtype == torch.bfloat16 else values.detach().cpu()
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name}: found shape {array.shape}, expected (N, d) with N and d at least 1")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name}: row {int(np.flatnonzero(~finite)[0])} holds NaN or infinity")
    return array


def check_embeddings(embeddings: ArrayLike | torch.Tensor, metric: Metric) -> int:
    """Number of embeddings, after a look at shape and metric."""
    shape = tuple(embeddings.shape) if isinstance(embeddings, torch.Tensor) else np.shape(embeddings)
    if metric not in get_args(Metric):
        raise ValueError(f"metric: found {metric!r}, expected one of {', '.join(get_args(Metric))}")
    if len(shape) != 2:
        raise ValueError(f"embeddings: found shape {shape}, expected (N, d)")
    return shape[0]


def _prepare(values: Any, metric: Metric, name: str) -> NDArray[np.float64]:
    """Vectors whose dot products or differences give the distances."""
    check_embeddings(values, metric)
    array = as_matrix(values, name).astype(np.float64)
    if metric == "wasserstein":
        _check_sigma(array)
    if metric in ("euclidean", "wasserstein"):
        return array
    if metric == "correlation":
        mean = array.mean(axis=1, keepdims=True)
        # What rounding leaves of a constant vector must not be taken for a direction.
        array = np.where(np.abs(array - mean) > 1e-12 * np.abs(mean), array - mean, 0.0)
    # Scaled first, so that squares neither overflow nor vanish.
    largest = np.abs(array).max(axis=1, keepdims=True)
    array = array / np.where(largest > 0, largest, 1)
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(norm > 0, norm, 1)


def _check_sigma(joined: NDArray[np.float64]) -> None:
    if joined.shape[1] % 2:
        raise ValueError(f"embeddings: found {joined.shape[1]} numbers, expected d means and d standard deviations")
    negative = np.argwhere(joined[:, joined.shape[1] // 2 :] < 0)
    if len(negative):
        raise ValueError(f"embeddings: row {int(negative[0, 0])} has a negative standard deviation")


def _between(a: NDArray[np.float64], b: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    if metric in ("cosine", "correlation"):
        return np.clip(1.0 - a @ b.T, 0.0, 2.0)
    # About a common middle, so that a far origin costs no digits.
    middle = b.mean(axis=0)
    a, b = a - middle, b - middle
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.sqrt(np.maximum(square, 0.0))
