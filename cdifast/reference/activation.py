"""The log activation, by its formula."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_activation(x: Tensor, alpha: float | Tensor = 0.2, *, bias: Tensor | None = None) -> Tensor:
    """``alpha sign(x) log(1 + e |x|)`` (P1, eq. 11), of ``x + bias``; see :func:`cdifast.ops.log_activation`.

    At 0, where torch takes the derivative of ``|x|`` for 0, the slope is written out so that it is ``alpha e``.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    alpha : float or Tensor of one element
    bias : Tensor, optional
        (C,) for ``x`` of shape (N, C, ...).

    Returns
    -------
    Tensor
        Like ``x``.
    """
    if isinstance(alpha, Tensor):
        alpha = alpha.reshape(())
    if bias is not None:
        x = x + bias.reshape(-1, *(1,) * (x.dim() - 2))
    return alpha * torch.where(x < 0, -_positive(torch.where(x < 0, -x, 0)), _positive(torch.where(x < 0, 0, x)))


def _positive(x: Tensor) -> Tensor:
    """For x >= 0: the second form below 1, without cancellation, and the first above, without overflow.

    Each branch is evaluated where it is not used too; its argument is replaced there, so that no NaN or infinity gets
    into the gradient.
    """
    below = torch.log1p(math.e * torch.where(x < 1, x, 1))
    above = torch.log(torch.where(x < 1, 1, x) + 1 / math.e) + 1
    return torch.where(x < 1, below, above)
