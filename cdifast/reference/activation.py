"""The log activation, by its formula."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_activation(x: Tensor, alpha: float | Tensor = 0.2) -> Tensor:
    """``alpha sign(x) log(1 + e |x|)`` (P1, eq. 11); see :func:`cdifast.ops.log_activation`.

    At 0, where torch takes the derivative of ``|x|`` for 0, the slope is written out so that it is ``alpha e``.

    Parameters
    ----------
    x : Tensor
        Any shape, floating.
    alpha : float or Tensor of one element

    Returns
    -------
    Tensor
        Like ``x``.
    """
    if isinstance(alpha, Tensor):
        alpha = alpha.reshape(())
    # Each branch is evaluated where it is not used too; a NaN there would poison the gradient.
    positive = torch.log1p(math.e * torch.where(x < 0, 0, x))
    negative = -torch.log1p(-math.e * torch.where(x < 0, x, 0))
    return alpha * torch.where(x < 0, negative, positive)
