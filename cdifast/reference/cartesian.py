"""The way back from an unwrapped map to a detector image, neighbour by neighbour."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cartesian_resample(
    unwrapped: Tensor,
    height: int,
    width: int,
    *,
    center: tuple[float, float] | Tensor | None = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    mask: Tensor | None = None,
    interpolation: str = "bilinear",
    fill: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Sample (radius, angle) maps at the pixels of a detector image.

    Pixel ``(row, column)`` lies at radius ``r`` and angle ``phi`` round the centre, counter-clockwise as displayed,
    and takes the map at ring ``(r - r_min) / step`` and at column ``phi n_angular / (2 pi)``, which goes round. A
    single ring has no step: it covers half a pixel to either side. Validity is that of
    :func:`cdifast.ops.polar_resample`: the mean of the valid neighbours where their weights sum to at least 0.5.

    Parameters
    ----------
    unwrapped : Tensor, shape (N, n_radial, n_angular)
    height, width : int
        Size of the images.
    center : (y, x) or Tensor of shape (N, 2), optional
        Default ``((height - 1) / 2, (width - 1) / 2)``.
    r_min, r_max : float
        Radii of the map's first and last ring in pixels. ``r_max`` defaults to ``(min(height, width) - 1) / 2``.
    mask : Tensor of bool, shape (n_radial, n_angular) or (N, n_radial, n_angular), optional
        True where an element of the map is good.
    interpolation : {"bilinear", "nearest"}
    fill : float, default 0.0

    Returns
    -------
    image, weight : Tensor, shape (N, height, width)
        In the map's dtype if floating, else float64.
    """
    count, n_radial, n_angular = unwrapped.shape
    device = unwrapped.device
    values = unwrapped if unwrapped.is_floating_point() else unwrapped.to(torch.float64)
    good = torch.ones(n_radial, n_angular, dtype=torch.bool) if mask is None else mask
    good = good.to(device).expand(count, n_radial, n_angular)
    if center is None:
        center = ((height - 1) / 2, (width - 1) / 2)
    centers = torch.as_tensor(center, dtype=torch.float64, device=device).expand(count, 2)
    if r_max is None:
        r_max = (min(height, width) - 1) / 2

    up = centers[:, 0, None, None] - torch.arange(height, dtype=torch.float64, device=device)[:, None]
    right = torch.arange(width, dtype=torch.float64, device=device) - centers[:, 1, None, None]
    square = up * up + right * right
    # The centre itself has no angle, and the square root no slope there: constants, so that gradients stay finite.
    at_center = square == 0
    radius = torch.where(at_center, 0, torch.sqrt(torch.where(at_center, 1, square)))
    angle = torch.where(at_center, 0, torch.atan2(torch.where(at_center, 0, up), torch.where(at_center, 1, right)))
    step = (r_max - r_min) / (n_radial - 1) if n_radial > 1 else 1.0
    # Where all rings lie on one another, no pixel has a place between them.
    y = (radius - r_min) / step if step != 0 else torch.full_like(radius, -2)
    x = angle * (n_angular / (2 * math.pi))
    x = torch.where(x < 0, x + n_angular, x)

    if interpolation == "nearest":
        # Half-way coordinates round up whatever the last bit of their angle says.
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
    map_index = torch.arange(count, device=device)[:, None, None]
    for py, px, weight in neighbours:
        inside = (py >= 0) & (py < n_radial)
        iy = torch.where(inside, py, 0).long()
        ix = torch.where(px >= n_angular, px - n_angular, px).long().clamp(0, n_angular - 1)
        valid = inside & good[map_index, iy, ix]
        touched = ~(weight <= 1e-9)  # less is rounding, where a sample falls on an element of the map
        used = valid & touched
        complete &= valid | ~touched
        total = total + torch.where(used, weight, 0)
        summed = summed + torch.where(used, weight * torch.where(used, values[map_index, iy, ix], 0), 0)
    total = torch.where(complete, 1, total)
    total = torch.where(total >= 0.5 - 1e-6, total, 0)
    image = torch.where(total > 0, summed / torch.where(total > 0, total, 1), fill)
    return image.to(values.dtype), total.to(values.dtype)
