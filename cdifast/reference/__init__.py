"""The operators of :mod:`cdifast.ops` in plain, readable PyTorch.

These are the definitions: what the compiled operators are tested against, in any floating dtype and on any device.
They are slow, and nothing in the package falls back to them.
"""

from .activation import log_activation
from .angular import angular_correlation
from .cartesian import cartesian_resample
from .correlation import correlation_map
from .fused import polar_correlation_map
from .harmonics import angular_harmonics
from .polar import polar_resample

__all__ = [
    "angular_correlation",
    "angular_harmonics",
    "cartesian_resample",
    "correlation_map",
    "log_activation",
    "polar_correlation_map",
    "polar_resample",
]
