"""Comparisons and selections by booleans, which torch does five to thirty times as slowly as NumPy on a CPU.

Arrays and tensors share their memory; on other devices torch does them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def below(values: Tensor, limit: float) -> Tensor:
    """Where float32 values are less than a limit; NaN is not."""
    return torch.from_numpy(np.less(values.numpy(), np.float32(limit))) if _on_cpu(values) else values < limit


def above(values: Tensor, limit: float | Tensor) -> Tensor:
    """Where float32 values are greater than a limit, or than one for each pixel; NaN is not."""
    if not _on_cpu(values):
        return values > limit
    return torch.from_numpy(values.numpy() > (limit.numpy() if isinstance(limit, Tensor) else np.float32(limit)))


def finite(values: Tensor) -> Tensor:
    """Where float32 or float64 values are finite in float32."""
    if values.dtype == torch.float64:
        return values.abs() <= torch.finfo(torch.float32).max
    if _on_cpu(values) and values.dtype == torch.float32:
        return torch.from_numpy(np.isfinite(values.numpy()))
    return values.isfinite()


def counts(good: Tensor) -> Tensor:
    """How many pixels of each frame ``(n, H, W)`` are True, ``(n,)`` int64."""
    if _on_cpu(good):
        return torch.tensor([np.count_nonzero(frame) for frame in good.numpy()], dtype=torch.int64)
    return good.sum(dim=(1, 2))


def hide(values: Tensor, good: Tensor) -> None:
    """Set finite float32 values to 0 where they are not good."""
    if _on_cpu(values):
        array = values.numpy()
        np.multiply(array, good.numpy(), out=array)
    else:
        values *= good


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"
