"""The merged angular correlation map, from the Fourier transform and the full products."""

from __future__ import annotations

import torch
from torch import Tensor


def correlation_map(
    unwrapped: Tensor,
    *,
    order: int = 8,
    part: str = "real",
    weight: Tensor | None = None,
    normalize: str = "none",
    fill: float = 0.0,
    min_weight: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """Zero-lag map below, order ``order`` above the diagonal; see :func:`cdifast.ops.correlation_map`.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., R, K)
        float32 or float64.
    weight : Tensor, shape (R, K) or as ``unwrapped``, optional
    order, part, normalize, fill, min_weight
        As there.

    Returns
    -------
    map, weight : Tensor, shape (..., R, R)
    """
    n_angular = unwrapped.shape[-1]
    w = torch.ones_like(unwrapped) if weight is None else weight.to(unwrapped).expand_as(unwrapped)
    values = torch.where(w > 0, unwrapped, 0)
    needed = (min_weight - 1e-5) * n_angular  # the slack: exact ties are on the valid side

    ring_weight = w.sum(-1)
    safe_weight = torch.where(ring_weight > 0, ring_weight, 1)
    mean = (w * values).sum(-1) / safe_weight
    centred = values - mean[..., None]
    usable = (ring_weight > 0) & (ring_weight >= needed)

    offset = torch.zeros_like(mean)
    scale = torch.ones_like(mean)
    if normalize == "mean":
        defined = mean != 0
        scale = torch.where(defined, 1 / torch.where(defined, mean, 1), 0)
        usable = usable & defined
    elif normalize == "pearson":
        variance = (w * centred**2).sum(-1) / safe_weight
        mean_square = (w * values**2).sum(-1) / safe_weight
        # A spread that is rounding noise against the ring's size is a constant ring's.
        constant = variance <= (8 * torch.finfo(values.dtype).eps) ** 2 * mean_square
        offset = mean
        scale = torch.where(constant, 0, 1 / torch.where(constant, 1, variance).sqrt())
        usable = usable & ~constant

    weighted = w * (values - offset[..., None]) * scale[..., None]
    pairs = torch.einsum("...ik,...jk->...ij", w, w)
    enough = (pairs > 0) & (pairs >= needed)
    zero_lag = torch.einsum("...ik,...jk->...ij", weighted, weighted) / torch.where(enough, pairs, 1)

    harmonic = torch.fft.fft(w * centred, dim=-1)[..., order] * (scale / safe_weight)
    ordered = harmonic[..., :, None].conj() * harmonic[..., None, :]
    ordered = ordered.abs() if part == "abs" else ordered.real

    lower = torch.ones(pairs.shape[-2:], dtype=torch.bool, device=pairs.device).tril()
    both = usable[..., :, None] & usable[..., None, :]
    merged = torch.where(lower, zero_lag, ordered)
    merged = torch.where(both & (enough | ~lower), merged, fill)

    least = torch.minimum(ring_weight[..., :, None], ring_weight[..., None, :])
    cell_weight = torch.where(lower, pairs, least)
    cell_weight = torch.where(cell_weight >= needed, cell_weight, 0) / n_angular
    return merged, cell_weight
