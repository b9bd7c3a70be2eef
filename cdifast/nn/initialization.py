"""Initial weights of the networks of P1."""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor, nn

# Standard deviation of the standard normal distribution cut off at +-2.
_TRUNCATED_STD: Final = 0.8796256610342398


def truncated_normal_(weight: Tensor, gain: float = 1.0) -> None:
    """Fill a kernel (out, in, ...) with a normal distribution of variance gain² / fan-in, cut off at two deviations.

    The distribution is widened before the cut so that the variance holds after it (TensorFlow's
    ``variance_scaling_initializer``; gain 1 is C1's).
    """
    std = gain / math.sqrt(weight[0].numel()) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
