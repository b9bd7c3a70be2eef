"""P1's noise study (section 5.3): uniform noise at three levels that the data set itself sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

Level = Literal["none", "mean", "mean+std", "max"]

LEVELS: Final[tuple[Level, ...]] = ("none", "mean", "mean+std", "max")
"""P1's four image sets (table 6)."""


@dataclass(frozen=True)
class NoiseBounds:
    """Medians over a data set of each image's mean, standard deviation and maximum.

    Attributes
    ----------
    mean, std, max : float
        In units of the images.
    """

    mean: float
    std: float
    max: float

    @classmethod
    def measure(cls, images: Tensor, mask: Tensor | None = None) -> NoiseBounds:
        """Of a data set.

        Parameters
        ----------
        images : Tensor
            ``(N, H, W)``, N >= 1, any real dtype.
        mask : Tensor, optional
            ``(H, W)`` bool, True for the pixels that count. P1 takes all, the empty hole too: the default.

        Raises
        ------
        ValueError
            If there are no images, or the shapes do not fit.
        """
        if images.ndim != 3 or len(images) < 1:
            raise ValueError(f"images must be (N, H, W) with N >= 1, not {tuple(images.shape)}")
        if mask is not None and (mask.shape != images.shape[1:] or mask.dtype != torch.bool):
            raise ValueError(f"mask must be {tuple(images.shape[1:])} bool, not {tuple(mask.shape)} {mask.dtype}")
        pixels = (images.flatten(1) if mask is None else images[:, mask]).double()
        parts = pixels.mean(1), pixels.std(1, correction=0), pixels.amax(1)
        # quantile, not median: of an even number torch's median is the lower of the middle two
        return cls(*(float(part.quantile(0.5)) for part in parts))

    def upper(self, level: Level) -> float:
        """``b`` of the noise U(0, b) at a level.

        Raises
        ------
        ValueError
            If the level is none of :data:`LEVELS`.
        """
        bounds = {"none": 0.0, "mean": self.mean, "mean+std": self.mean + self.std, "max": self.max}
        if level not in bounds:
            raise ValueError(f"unknown noise level {level!r}; known: {', '.join(LEVELS)}")
        return bounds[level]


def add_uniform_noise(
    images: Tensor, level: Level, bounds: NoiseBounds | None = None, *, seed: int = 0, mask: Tensor | None = None
) -> Tensor:
    """Add U(0, b) to every pixel, as in P1's section 5.3.

    Parameters
    ----------
    images : Tensor
        ``(N, H, W)``, any real dtype.
    level : {"none", "mean", "mean+std", "max"}
        Which ``b``.
    bounds : NoiseBounds, optional
        Medians of the data set; None: of these very images.
    seed : int
        Of the noise.
    mask : Tensor, optional
        ``(H, W)`` bool: pixels outside get no noise. P1 adds it everywhere: the default.

    Returns
    -------
    Tensor
        ``(N, H, W)`` float32 (float64 stays), on the images' device.

    Raises
    ------
    ValueError
        As :meth:`NoiseBounds.measure` and :meth:`NoiseBounds.upper`.
    """
    bounds = NoiseBounds.measure(images) if bounds is None else bounds
    upper = bounds.upper(level)
    values = images if images.dtype == torch.float64 else images.to(torch.float32)
    if upper == 0:
        return values.clone()
    generator = torch.Generator(values.device).manual_seed(seed)
    noise = torch.rand(values.shape, dtype=values.dtype, device=values.device, generator=generator) * upper
    if mask is not None:
        noise = torch.where(mask.to(values.device), noise, 0)
    return values + noise
