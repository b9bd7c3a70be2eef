"""The two views exactly as P2's published code makes them."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from cdifast.ops import polar_resample

SIDE: Final = 1035
"""Side of the published helium images; every length below is for it and scales with the side of other images."""

HOLE_RADIUS: Final = 155
HOLE_BLUR: Final = 1.5
CROP: Final = 167
CROP_RADIUS: Final = (310, 24)


def p2_code_detector(images: Tensor, size: int = 256) -> Tensor:
    """Detector view of P2's code: hole blanked, rows and columns 167:-167 of 1035, resized, scaled to [0, 1].

    Parameters
    ----------
    images : Tensor, shape (N, 1, S, S)
        Whole detector images, floating, hole in the middle. Lengths scale with S / 1035.
    size : int
        Side of the result.

    Returns
    -------
    Tensor, shape (N, 1, size, size)

    Raises
    ------
    ValueError
        Not of that shape.
    """
    cut = _scaled(CROP, _side(images))
    return _shown(_without_hole(images)[..., cut:-cut, cut:-cut], size)


def p2_code_unwrapped(images: Tensor, size: int = 256) -> Tensor:
    """Unwrapped view of P2's code.

    In its words, for S = 1035: the hole of radius 155, its edge blurred by sigma 1.5, is blanked; sampled at the
    nearest pixel of x = 517 (1 + rho cos phi), y = 517 (1 - rho sin phi) for 1035 rho from 0 to 1 and 1035 phi from 0
    to 2 pi, end point included; rows (angles) 167:-167 and columns (radii) 310:-24 are cut out, resized to 256 with
    anti-aliasing, and each image is scaled to [0, 1] by its minimum and maximum. No logarithm. The axes here are, as
    everywhere, (radius, angle): its picture is this one transposed.

    Parameters, result and errors as `p2_code_detector`; the result is (N, 1, size radii, size angles).
    """
    side = _side(images)
    # The end point included: one period of S - 1 angles and its first again.
    period = polar_resample(_without_hole(images), side, side - 1, r_max=(side - 1) / 2, interpolation="nearest")
    unwrapped = torch.cat([period, period[..., :1]], dim=-1)
    first, last = (_scaled(length, side) for length in CROP_RADIUS)
    cut = _scaled(CROP, side)
    return _shown(unwrapped[..., first : side - last, cut : side - cut], size)


def _side(images: Tensor) -> int:
    if images.dim() != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, 1, S, S)")
    if images.shape[3] < 16:
        raise ValueError(f"images: found {images.shape[3]} pixels a side, expected at least 16")
    return images.shape[3]


def _scaled(length: int, side: int) -> int:
    return max(1, round(length * side / SIDE))


def _without_hole(images: Tensor) -> Tensor:
    side = images.shape[-1]
    along = torch.arange(side, device=images.device, dtype=images.dtype) - (side - 1) / 2
    outside = (torch.hypot(along[:, None], along) > HOLE_RADIUS * side / SIDE).to(images.dtype)
    sigma = HOLE_BLUR * side / SIDE
    reach = math.ceil(4 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype) / sigma) ** 2)
    kernel /= kernel.sum()
    # Far from the border: what lies beyond it is not asked for.
    window = functional.pad(outside[None, None], (reach,) * 4, value=1.0)
    window = functional.conv2d(functional.conv2d(window, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return images * window


def _shown(images: Tensor, size: int) -> Tensor:
    images = functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    span = high - low
    return (images - low) * torch.where(span > 0, 1 / span, 0)
