"""The last step to a centre of symmetry: least squares between an image and its inverse."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_ITERATIONS: Final = 3
_LONGEST: Final = 0.5  # pixels that they may move altogether, along each axis
_MOST_NOISE: Final = 0.7  # share of the squared gradients that is taken for noise at most


def refine_center(values: Tensor, good: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of symmetry near given ones, and their standard errors, each ``(n, 2)`` float64.

    For a centre c that is d short of the true one, a pixel and its partner (interpolated, at 2c - x) differ by
    -2 g.d, with g the gradient of their mean: d = -F^-1 (sum of difference times g) / 2 with F the sum of g g^T, from
    which the noise's own gradients are taken off. The covariance is F^-1 (sum of n^2 g g^T) F^-1, n^2 the squared
    difference over 1 + the sum of squares of the interpolation's weights, which is right also where noise differs from
    pixel to pixel.

    Parameters
    ----------
    values : Tensor of float32, (n, H, W)
        0 where not good.
    good : Tensor of bool, (1 or n, H, W)
    center : Tensor of float64, (n, 2)
        NaN stays NaN.
    """
    start = center
    error = torch.full_like(center, torch.nan)
    both = torch.stack([values, good.expand_as(values).to(values.dtype)], dim=1)
    for _ in range(_ITERATIONS):
        shift, error = _step(both, center)
        center = start + (center + shift - start).clamp(-_LONGEST, _LONGEST)
    return center, error


def _step(both: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
    """Where the centre is from here, and its standard error there."""
    values, good = both.unbind(1)
    inverse, partner = _inverse(both, center).unbind(1)
    usable = (good > 0) & (partner > 0.999)  # all pixels that the partner is interpolated from are good
    mean = (values + inverse) / 2
    inner = usable.clone()
    gradient = []
    for axis in (1, 2):
        inner &= usable.roll(1, axis) & usable.roll(-1, axis)
        edges = torch.tensor([0, values.shape[axis] - 1], device=values.device)
        inner.index_fill_(axis, edges, False)
        gradient.append((mean.roll(-1, axis) - mean.roll(1, axis)) / 2)
    difference = torch.where(inner, values - inverse, 0)
    gradient = [torch.where(inner, g, 0) for g in gradient]

    def matrix(factor: Tensor | None) -> Tensor:
        products = [gradient[a] * gradient[b] for a, b in ((0, 0), (0, 1), (1, 1))]
        yy, yx, xx = (p.sum(dim=(1, 2)) if factor is None else (factor * p).sum(dim=(1, 2)) for p in products)
        return torch.stack([yy, yx, yx, xx], dim=1).view(-1, 2, 2).double()

    squared = difference.square()
    normal = matrix(None)
    # The mean of two has half a pixel's variance v, its central difference a quarter, and v is half the squared
    # difference; interpolation lowers both alike.
    noise = squared.sum(dim=(1, 2)).double() / 8
    noise = torch.minimum(noise, _MOST_NOISE * normal.diagonal(dim1=1, dim2=2).amin(dim=1))
    normal = normal - noise[:, None, None] * torch.eye(2, dtype=torch.float64, device=values.device)
    inverted = torch.linalg.pinv(normal.nan_to_num(0.0))
    force = torch.stack([(difference * g).sum(dim=(1, 2)) for g in gradient], dim=1).double()
    shift = -(inverted @ force[:, :, None])[:, :, 0] / 2
    part = (2 * center).frac().abs()
    weights = ((1 - part).square() + part.square()).prod(dim=1)
    covariance = inverted @ (matrix(squared) / (1 + weights)[:, None, None]) @ inverted
    error = covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    # Nothing to go by: the given centre stays, of unknown error.
    known = (normal.diagonal(dim1=1, dim2=2) > 0).all(dim=1)[:, None]
    return torch.where(known, shift, 0), torch.where(known & center.isfinite(), error, torch.nan)


def _inverse(images: Tensor, center: Tensor) -> Tensor:
    """Images ``(n, channels, H, W)`` inverted through the centres, interpolated bilinearly; 0 from outside."""
    height, width = images.shape[2:]
    axes = []
    for length, middle in ((height, center[:, 0]), (width, center[:, 1])):
        source = 2 * middle.nan_to_num(0.0)[:, None] - torch.arange(length, dtype=torch.float64, device=images.device)
        axes.append(((2 * source + 1) / length - 1).to(images.dtype))
    shape = (len(images), height, width)
    grid = torch.stack([axes[1][:, None, :].expand(shape), axes[0][:, :, None].expand(shape)], dim=-1)
    return torch.nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
