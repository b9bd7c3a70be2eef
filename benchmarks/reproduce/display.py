"""Simulated and published helium shots made to look alike: crop, hole, display scale."""

from __future__ import annotations

import torch
from torch import Tensor

from cdifast.labels import CLASSES

EXAMPLE_SIZE = 88
"""Pixels along each side of the published examples."""

EXAMPLE_HOLE = 19.5
"""Radius in pixels of the examples' hole, with a pixel for its blurred edge."""

SIMULATED_SIZE = 124
"""Size at which a shot's hole is as wide as the examples': they show the middle 71 % of the detector. 0.2998 * 62 =
18.6 pixels."""

CLASS_OF_EXAMPLE = {
    "Elliptical": "Elliptical",
    "Streak": "Streak",
    "Bent": "Bent",
    "Asymmetric": "Asymmetric",
    "NewtonRings": "Newton rings",
    "DoubleRings": "Double rings",
    "Layered": "Layered",
}
"""The examples' names for their classes, and the package's."""

COLUMNS = {name: CLASSES.index(name) for name in CLASS_OF_EXAMPLE.values()}


def crop(images: Tensor) -> Tensor:
    """The middle ``(N, 88, 88)`` of shots ``(N, 124, 124)``."""
    margin = (SIMULATED_SIZE - EXAMPLE_SIZE) // 2
    return images[:, margin : margin + EXAMPLE_SIZE, margin : margin + EXAMPLE_SIZE]


def display_scaled(images: Tensor) -> Tensor:
    """From 0 to 1 between an image's smallest value and its brightest two in a thousand; the hole is 0.

    Parameters
    ----------
    images : Tensor
        ``(N, 88, 88)``, any real dtype.

    Returns
    -------
    Tensor
        ``(N, 88, 88)`` float32.
    """
    axis = torch.arange(EXAMPLE_SIZE) - (EXAMPLE_SIZE - 1) / 2
    seen = (axis[:, None] ** 2 + axis**2).sqrt() > EXAMPLE_HOLE
    values = images.float()
    pixels = values[:, seen]
    low = pixels.quantile(0.002, dim=1)[:, None, None]
    high = pixels.quantile(0.998, dim=1)[:, None, None]
    scaled = ((values - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    return torch.where(seen, scaled, 0)


def roughened(images: Tensor, seed: int) -> Tensor:
    """Shots as other detectors, screens and figures might show them, each in its own way.

    What is not known of the way from the plate to a published figure is drawn anew for each image, so that a network
    cannot rely on it: a blur of up to 0.9 pixels, a further halo of up to 0.6 of the light over 4 to 16 pixels, a power
    of 0.7 to 1.4, noise of up to 8 % of each pixel and 3 % of the brightest.

    Parameters
    ----------
    images : Tensor
        ``(N, 88, 88)``, any real dtype.
    seed : int
        Of all of it.

    Returns
    -------
    Tensor
        ``(N, 88, 88)`` float32, non-negative.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), 1, 1, generator=generator)

    values = images.float()
    sharp = _gaussian(uniform(0.2, 0.9))
    values = sharp @ values @ sharp.mT
    wide, share = _gaussian(uniform(4, 16)), uniform(0, 0.6)
    values = (1 - share) * values + share * (wide @ values @ wide.mT)
    top = values.flatten(1).quantile(0.998, dim=1)[:, None, None].clamp_min(1e-9)
    values = (values / top).clamp_min(0) ** uniform(0.7, 1.4)
    noise = torch.randn(2, *values.shape, generator=generator)
    return (values * (1 + uniform(0, 0.08) * noise[0]) + uniform(0, 0.03) * noise[1]).clamp_min(0)


def _gaussian(width: Tensor) -> Tensor:
    """``(N, 88, 88)`` blurs along an axis; each row adds up to 1."""
    c = torch.arange(EXAMPLE_SIZE, dtype=torch.float32)
    kernel = torch.exp(-((c[:, None] - c) ** 2) / (2 * width**2))
    return kernel / kernel.sum(2, keepdim=True)
