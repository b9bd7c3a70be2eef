"""Distances between embeddings: the float64 definition, pair by pair, and what the fast search filters with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch

Metric = Literal["cosine", "euclidean", "correlation"]

METRICS: Final = ("cosine", "euclidean", "correlation")

# Numbers gathered at once by `pair_distances`: 16 MiB of float64 for each side.
_GATHERED: Final = 1 << 21


def check_metric(metric: str) -> None:
    """Refuse an unknown metric with a ValueError."""
    if metric not in METRICS:
        raise ValueError(f"metric: found {metric!r}, expected one of {', '.join(METRICS)}")


@dataclass(frozen=True)
class Prepared:
    """Vectors made ready for one metric, in float64.

    Attributes
    ----------
    values
        (n, d): of length one for cosine and correlation (whose mean is subtracted before), as they are for Euclidean.
    zero
        (n,) bool: vectors that have no direction (zero, or constant for correlation).
    """

    values: torch.Tensor
    zero: torch.Tensor


def prepared(vectors: torch.Tensor, metric: Metric) -> Prepared:
    """Vectors (n, d) of any real dtype, made ready for `row_distances`."""
    values = vectors.double()
    if metric == "euclidean":
        return Prepared(values, torch.zeros(len(values), dtype=torch.bool, device=values.device))
    if metric == "correlation":
        centred = values - values.mean(dim=1, keepdim=True)
        # What a constant vector leaves is the rounding of its mean.
        constant = values.amax(dim=1) == values.amin(dim=1)
        values = centred.masked_fill(constant[:, None], 0)
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    zero = length[:, 0] == 0
    return Prepared(values / length.masked_fill(length == 0, 1), zero)


def row_distances(a: Prepared, b: Prepared, metric: Metric) -> torch.Tensor:
    """Distance of each row of `a` to the same row of `b`, (n,) float64.

    Euclidean: ``|a - b|``. Cosine: ``1 - a.b / (|a| |b|)``, and correlation: the same after each vector's mean is
    subtracted; both computed as half the squared distance of the unit vectors, which has no cancellation for near
    ones and is exactly 0 for equal ones. A vector without direction is at distance 1 from every other, itself included
    (what scikit-learn says of zero vectors).
    """
    squares = (a.values - b.values).square_().sum(dim=1)
    if metric == "euclidean":
        return squares.sqrt_()
    return (squares / 2).masked_fill_(a.zero | b.zero, 1)


def pair_distances(
    queries: Prepared, rows: torch.Tensor, query: torch.Tensor, row: torch.Tensor, metric: Metric
) -> torch.Tensor:
    """Distances of the pairs (query[i], row[i]), (pairs,) float64, in memory that does not grow with their number.

    Every pair is computed from its two vectors alone and in the same order of operations, whatever pairs come with it:
    equal vectors have equal distances, which is what makes ties be ties.
    """
    step = max(1, _GATHERED // max(1, rows.shape[1]))
    out = torch.empty(len(query), dtype=torch.float64, device=rows.device)
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        a = Prepared(queries.values[query[part]], queries.zero[query[part]])
        out[part] = row_distances(a, prepared(rows[row[part]], metric), metric)
    return out
