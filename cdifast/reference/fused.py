"""Correlation maps of detector images, from the two definitions that they are made of."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .correlation import correlation_map
from .polar import polar_resample


def polar_correlation_map(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: tuple[float, float] | Tensor | None = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: str = "bilinear",
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Map and weights of unwrapped images; see :func:`cdifast.ops.polar_correlation_map`.

    Parameters
    ----------
    images : Tensor, shape (N, H, W)
    n_radial, n_angular, center, r_min, r_max, mask, interpolation
        As for :func:`polar_resample`.
    **options
        Those of :func:`correlation_map`.

    Returns
    -------
    map, weight : Tensor, shape (N, n_radial, n_radial)
        In the images' dtype if floating, else float64.
    """
    geometry: dict[str, Any] = {
        "center": center,
        "r_min": r_min,
        "r_max": r_max,
        "mask": mask,
        "interpolation": interpolation,
    }
    unwrapped, weight = polar_resample(images, n_radial, n_angular, **geometry)
    return correlation_map(unwrapped, weight=weight.detach(), **options)
