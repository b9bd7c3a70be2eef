"""VICReg, a loss on the same pairs of views without negatives: what one would try beside P2's today."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .distributed import gather_rows
from .nt_xent import check_pair

EPSILON = 1e-4
"""Added to the variances (Bardes et al., equation 2)."""


class VICRegTerms(NamedTuple):
    """The loss and its parts, scalars.

    Attributes
    ----------
    total
        What is minimised: the weighted sum of the others.
    invariance, variance, covariance
        Of both views together, without their weights.
    """

    total: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg(
    z_a: Tensor,
    z_b: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    target: float = 1.0,
    across_ranks: bool = True,
) -> VICRegTerms:
    r"""Variance-invariance-covariance regularisation (Bardes, Ponce and LeCun 2022, arXiv:2105.04906, section 4).

    - invariance: :math:`\frac{1}{nD}\sum_i \|a_i - b_i\|^2`. The paper's equation 5 lacks the 1/D that its published
      code has; the weights 25, 25, 1 belong to the code, which is followed.
    - variance: :math:`\frac{1}{D}\sum_d \max(0, \gamma - \sqrt{\mathrm{Var}\,a_d + \epsilon})`, mean of both views (the
      code's; the paper adds them), variances with n - 1.
    - covariance: :math:`\frac{1}{D}\sum_{c \ne d} \mathrm{Cov}(a)_{cd}^2`, sum of both views.

    Across ranks, statistics are those of the joint batch, and every rank returns the joint loss: gradients averaged
    over ranks with equal weights (`cdifast.train.distributed.average_gradients`) are its gradients.

    Parameters
    ----------
    z_a, z_b
        Projections (n, D), floating point, not of length one. Half precisions are computed in float32.
    invariance, variance, covariance
        Weights of the terms.
    target
        Standard deviation that each component shall have (:math:`\gamma`).
    across_ranks
        Whether the batch is that of all ranks.

    Returns
    -------
    VICRegTerms

    Raises
    ------
    ValueError
        Shapes that differ or are not (n, D), or fewer than two shots in all.
    TypeError
        Not floating point.
    """
    check_pair(z_a, z_b)
    with torch.autocast(z_a.device.type, enabled=False):
        dtype = torch.promote_types(z_a.dtype, torch.float32)
        a, b = z_a.to(dtype), z_b.to(dtype)
        if across_ranks:
            a, b = gather_rows(a), gather_rows(b)
        if len(a) < 2:
            raise ValueError(f"z_a: found {len(a)} shot in all, expected at least 2: it has no variance")
        near = (a - b).square().mean()
        spread = a.new_zeros(())
        redundant = a.new_zeros(())
        for z in (a, b):
            centred = z - z.mean(0)
            cov = centred.T @ centred / (len(z) - 1)
            variances = cov.diagonal()
            spread = spread + (target - (variances + EPSILON).sqrt()).relu().mean() / 2
            redundant = redundant + (cov.square().sum() - variances.square().sum()) / z.shape[1]
        total = invariance * near + variance * spread + covariance * redundant
    return VICRegTerms(total, near, spread, redundant)
