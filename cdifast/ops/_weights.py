"""Validity weights of unwrapped maps, for every operator that takes them."""

from __future__ import annotations

import math

from torch import Tensor

from ._checks import check_tensor
from ._vmap import batch_first
from .dtypes import FLOATING, compute_dtype


def ring_weights(op: str, weight: Tensor | None, unwrapped: Tensor) -> Tensor | None:
    """The weights as (1 or N, R, K) in the type of the arithmetic."""
    if weight is None:
        return None
    check_tensor(op, "weight", weight, FLOATING)
    if weight.requires_grad:
        raise ValueError(f"{op}: weight is a constant of the result and gets no gradient; pass weight.detach()")
    # Shapes of equal rank only: comparing others would tie torch.export to one batch size.
    shared = weight.dim() == 2
    if weight.shape != (unwrapped.shape[-2:] if shared else unwrapped.shape):
        raise ValueError(
            f"{op}: weight must have shape {tuple(unwrapped.shape[-2:])} or {tuple(unwrapped.shape)}, "
            f"got {tuple(weight.shape)}"
        )
    weight = weight.to(unwrapped.device, compute_dtype(unwrapped))
    # An expanded weight, as polar_resample returns it for a shared mask, is one set of weights and not N.
    if not shared and all(stride == 0 for stride in weight.stride()[:-2]) and all(n > 0 for n in weight.shape[:-2]):
        weight, shared = weight[(0,) * (weight.dim() - 2)], True
    return weight[None] if shared else weight.reshape(math.prod(weight.shape[:-2]), *weight.shape[-2:])


def merged_weight(weight: Tensor | None, dim: int | None, batch: int, count: int) -> Tensor | None:
    """Under vmap: weights of one map or each, for ``batch`` times as many maps; one set for everything stays one."""
    if weight is None or (dim is None and weight.shape[0] == 1):
        return weight
    weight = batch_first(weight, dim, batch)
    return weight.expand(batch, count, *weight.shape[2:]).flatten(0, 1)
