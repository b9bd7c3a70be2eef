"""The element types that the operators accept."""

from __future__ import annotations

from typing import Final

import torch

FLOATING: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that carry gradients; arithmetic on the half types runs in float32."""

IMAGE_DTYPES: Final = (torch.uint8, torch.uint16, torch.int16, torch.int32, *FLOATING)
"""Types of detector frames."""
