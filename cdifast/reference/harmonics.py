"""Angular harmonics, as a product with the table of all phases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def angular_harmonics(unwrapped: Tensor, orders: Sequence[int], *, weight: Tensor | None = None) -> Tensor:
    """Fourier coefficients of every ring's weighted deviation from its mean; see
    :func:`cdifast.ops.angular_harmonics`.

    Parameters
    ----------
    unwrapped : Tensor, shape (..., R, K)
        float32 or float64.
    orders : sequence of int
    weight : Tensor, shape (R, K) or as ``unwrapped``, optional

    Returns
    -------
    Tensor, shape (..., O, R)
        Complex.
    """
    n_angular = unwrapped.shape[-1]
    w = torch.ones_like(unwrapped) if weight is None else weight.to(unwrapped).expand_as(unwrapped)
    values = torch.where(w > 0, unwrapped, 0)
    total = w.sum(-1, keepdim=True)
    safe = torch.where(total > 0, total, 1)
    mean = (w * values).sum(-1, keepdim=True) / safe
    centred = w * (values - mean) / safe

    n = torch.tensor(list(orders), dtype=torch.int64, device=unwrapped.device)
    # The phase is reduced as an integer, so that it stays exact for large n k.
    turn = (n[:, None] * torch.arange(n_angular, device=unwrapped.device)) % n_angular
    phase = turn.to(unwrapped.dtype) * (2 * math.pi / n_angular)
    real = torch.einsum("ok,...jk->...oj", phase.cos(), centred)
    imaginary = -torch.einsum("ok,...jk->...oj", phase.sin(), centred)
    is_mean = (n == 0)[:, None]
    real = torch.where(is_mean, mean.mT, real)
    imaginary = torch.where(is_mean, 0, imaginary)
    return torch.complex(real, imaginary)
