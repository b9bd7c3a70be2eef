"""The element types that the operators accept."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

FLOATING: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that carry gradients; arithmetic on the half types runs in float32."""

IMAGE_DTYPES: Final = (torch.uint8, torch.uint16, torch.int16, torch.int32, *FLOATING)
"""Types of detector frames."""


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """The type that arithmetic on the tensor runs in: float64 for float64, else float32."""
    return torch.promote_types(tensor.dtype, torch.float32)
