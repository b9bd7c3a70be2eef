"""Polar resampling, neighbour by neighbour."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def polar_resample(
    images: Tensor,
    n_radial: int,
    n_angular: int,
    *,
    center: tuple[float, float] | Tensor | None = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: str = "bilinear",
    fill: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Unwrap images into (radius, angle) maps; see :func:`cdifast.ops.polar_resample`.

    Parameters
    ----------
    images : Tensor, shape (N, H, W)
    n_radial, n_angular, r_min, r_max, interpolation, fill
        As there.
    center : (y, x) or Tensor of shape (N, 2), optional
    mask : Tensor of bool, shape (H, W) or (N, H, W), optional
        True where a pixel is good.

    Returns
    -------
    unwrapped, weight : Tensor, shape (N, n_radial, n_angular)
        In the images' dtype if floating, else float64.
    """
    count, height, width = images.shape
    values = images if images.is_floating_point() else images.to(torch.float64)
    good = torch.ones(height, width, dtype=torch.bool) if mask is None else mask
    good = good.to(images.device).expand(count, height, width)
    if center is None:
        center = ((height - 1) / 2, (width - 1) / 2)
    centers = torch.as_tensor(center, dtype=torch.float64, device=images.device).expand(count, 2)
    if r_max is None:
        r_max = (min(height, width) - 1) / 2

    step = (r_max - r_min) / (n_radial - 1) if n_radial > 1 else 0.0
    radius = r_min + step * torch.arange(n_radial, dtype=torch.float64, device=images.device)
    angle = 2 * math.pi / n_angular * torch.arange(n_angular, dtype=torch.float64, device=images.device)
    y = centers[:, 0, None, None] - radius[:, None] * torch.sin(angle)
    x = centers[:, 1, None, None] + radius[:, None] * torch.cos(angle)

    if interpolation == "nearest":
        # Half-way coordinates round up whatever the last bit of their cosine says.
        neighbours = [(torch.floor(y + 0.5 + 1e-9), torch.floor(x + 0.5 + 1e-9), torch.ones_like(y))]
    else:
        y0, x0 = torch.floor(y).detach(), torch.floor(x).detach()
        fy, fx = y - y0, x - x0
        neighbours = [
            (y0, x0, (1 - fy) * (1 - fx)),
            (y0, x0 + 1, (1 - fy) * fx),
            (y0 + 1, x0, fy * (1 - fx)),
            (y0 + 1, x0 + 1, fy * fx),
        ]

    total = torch.zeros_like(y)
    summed = torch.zeros_like(y)
    complete = torch.ones_like(y, dtype=torch.bool)
    image_index = torch.arange(count, device=images.device)[:, None, None]
    for py, px, weight in neighbours:
        inside = (py >= 0) & (py < height) & (px >= 0) & (px < width)
        iy, ix = py.clamp(0, height - 1).long(), px.clamp(0, width - 1).long()
        valid = inside & good[image_index, iy, ix]
        touched = weight > 1e-9  # less is rounding, where a sample falls on a pixel centre
        used = valid & touched
        complete &= valid | ~touched
        total = total + torch.where(used, weight, 0)
        summed = summed + torch.where(used, weight * torch.where(used, values[image_index, iy, ix], 0), 0)
    total = torch.where(complete, 1, total)
    total = torch.where(total >= 0.5 - 1e-6, total, 0)
    unwrapped = torch.where(total > 0, summed / torch.where(total > 0, total, 1), fill)
    return unwrapped.to(values.dtype), total.to(values.dtype)
