"""Frames and masks as callers hand them over, checked."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray


def as_frames(frames: ArrayLike | torch.Tensor) -> torch.Tensor:
    """As a tensor of a type that `Tensor.copy_` converts to float32, without a copy where that can be."""
    if isinstance(frames, torch.Tensor):
        tensor = frames
    else:
        array = np.asarray(frames)
        if array.dtype.kind not in "buif":
            raise TypeError(f"frames: found dtype {array.dtype}, expected real numbers")
        # torch knows no foreign byte order, negative strides or read-only memory: there NumPy converts.
        if not (array.dtype.isnative and array.flags.c_contiguous and array.flags.writeable):
            array = np.ascontiguousarray(array, dtype=np.float32)
            array = array if array.flags.writeable else array.copy()
        tensor = torch.from_numpy(array)
    if tensor.is_complex():
        raise TypeError(f"frames: found dtype {tensor.dtype}, expected real numbers")
    if tensor.dim() != 3:
        raise ValueError(f"frames: found shape {tuple(tensor.shape)}, expected (N, H, W)")
    if 0 in tensor.shape[1:]:
        raise ValueError(f"frames: found shape {tuple(tensor.shape)}, frames without pixels")
    return tensor


def as_mask(mask: ArrayLike | torch.Tensor) -> NDArray[np.bool_]:
    """As an array; refused unless it is bool and (H, W) or (N, H, W)."""
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(f"mask: found dtype {array.dtype}, expected bool with True for good pixels")
    if array.ndim not in (2, 3):
        raise ValueError(f"mask: found shape {array.shape}, expected (H, W) or (N, H, W)")
    return array
