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
