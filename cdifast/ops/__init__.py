"""Differentiable operators for diffraction images: drop-in functions on torch tensors.

Every operator takes tensors with any leading batch dimensions, works under ``torch.compile``, ``autocast`` and
``torch.func.vmap``, and is deterministic. NumPy and CuPy arrays come in through :func:`torch.from_dlpack`.
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
