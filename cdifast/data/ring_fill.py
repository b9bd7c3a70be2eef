"""Bad pixels filled with noise of their own ring, so that nobody sees where they were."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_from_rings(images: Tensor, good: Tensor, rings: Tensor, uniforms: Tensor) -> Tensor:
    """Give each bad pixel the value of a good one of the same ring and image, drawn at random.

    Radial profile and noise of a diffraction pattern go on; a streak or an ellipse is interrupted. Of noise whose
    pixels are independent and alike within a ring, the result cannot be told from noise without bad pixels. Where a
    ring has no good pixel, any good pixel of the image serves; an image without one becomes 0.

    Parameters
    ----------
    images
        (N, C, H, W), any dtype; not changed.
    good
        (1 or N, H, W) bool, True = good.
    rings
        (1 or N, H, W) int64: number of each pixel's ring, 0 or more.
    uniforms
        (N, H, W) floating, in [0, 1): the draws.

    Returns
    -------
    Tensor
        Same shape, dtype and device.
    """
    count, channels, height, width = images.shape
    bad = ~good.expand(count, height, width).flatten(1)
    ring = rings.expand(count, height, width).flatten(1)
    draws = uniforms.flatten(1)
    # Sorted by ring, good pixels first: a ring's good pixels then lie side by side.
    order = torch.argsort(2 * ring + bad, dim=1, stable=True)
    each = torch.zeros(count, int(ring.max()) + 1, dtype=torch.int64, device=images.device)
    in_ring = each.scatter_add(1, ring, torch.ones_like(ring))
    good_in_ring = each.scatter_add(1, ring, (~bad).long())
    first = (in_ring.cumsum(1) - in_ring).gather(1, ring)
    choices = good_in_ring.gather(1, ring)
    source = order.gather(1, (first + _choose(draws, choices)).clamp_max(height * width - 1))
    alone = bad & (choices == 0)
    if alone.any():
        anywhere = torch.argsort(bad.long(), dim=1, stable=True)
        total = (~bad).sum(1, keepdim=True)
        source = torch.where(alone, anywhere.gather(1, _choose(draws, total.expand_as(draws))), source)
        bad_images = total == 0
    else:
        bad_images = torch.zeros(count, 1, dtype=torch.bool, device=images.device)
    flat = images.flatten(2)
    values = flat.gather(2, source[:, None].expand(-1, channels, -1)).masked_fill(bad_images[:, None], 0)
    return torch.where(bad[:, None], values, flat).view_as(images)


def pixel_rings(height: int, width: int, centers: Tensor | None, device: torch.device | str = "cpu") -> Tensor:
    """Rings one pixel wide: the rounded distance of each pixel from its image's centre, (1 or N, H, W) int64.

    Parameters
    ----------
    height, width
        Of the images.
    centers
        (N, 2), (y, x) in pixels; None: the middle, for all images.
    device
        Where the result is.
    """
    if centers is None:
        centers = torch.tensor([[(height - 1) / 2, (width - 1) / 2]])
    centers = centers.to(device, torch.float32)
    y = torch.arange(height, device=device)[None, :, None] - centers[:, 0, None, None]
    x = torch.arange(width, device=device)[None, None, :] - centers[:, 1, None, None]
    return torch.hypot(y, x).round().long()


def _choose(draws: Tensor, choices: Tensor) -> Tensor:
    """Whole numbers below `choices`, and 0 where there are none."""
    # A float32 draw close to 1 times a large number may round up to it.
    return torch.minimum((draws * choices).long(), (choices - 1).clamp_min(0))
