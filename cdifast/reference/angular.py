"""The angular correlation function, lag by lag."""

from __future__ import annotations

import torch
from torch import Tensor


def angular_correlation(
    unwrapped: Tensor,
    pairs: Tensor,
    *,
    weight: Tensor | None = None,
    fill: float = 0.0,
    min_weight: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """Weighted mean of products of two rings, one turned; see :func:`cdifast.ops.angular_correlation`.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., R, K)
        float32 or float64.
    pairs : Tensor of int64, shape (P, 2)
    weight : Tensor, shape (R, K) or as ``unwrapped``, optional
    fill, min_weight
        As there.

    Returns
    -------
    correlation, weight : Tensor, shape (..., P, K)
    """
    n_angular = unwrapped.shape[-1]
    w = torch.ones_like(unwrapped) if weight is None else weight.to(unwrapped).expand_as(unwrapped)
    values = torch.where(w > 0, unwrapped, 0) * w
    # A ring with an infinity has no correlation: some of its lags would be infinite, others not a number.
    values = torch.where(values.isfinite().all(-1, keepdim=True), values, torch.nan)

    def products(rings: Tensor) -> Tensor:
        first, second = rings[..., pairs[:, 0], :], rings[..., pairs[:, 1], :]
        return torch.stack([(first * second.roll(-lag, -1)).sum(-1) for lag in range(n_angular)], dim=-1)

    pair_weight = products(w)
    enough = (pair_weight > 0) & (pair_weight >= (min_weight - 1e-5) * n_angular)  # as for correlation maps
    correlation = torch.where(enough, products(values) / torch.where(enough, pair_weight, 1), fill)
    return correlation, torch.where(enough, pair_weight, 0) / n_angular
