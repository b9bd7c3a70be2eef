"""Random changes of training images, batched on the device, reproducible from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Augmentation:
    """Flips, brightness and contrast (P1, section 3.1.5), drawn anew for each image.

    P1 names the operations without their ranges (and its published code has them switched off, but for
    the flips). Intensities of a diffraction image span decades, and the network sees their logarithm, so
    both changes act on the logarithm of the intensity:

    - brightness: log|x| + b, a factor exp(b), b uniform within +-`brightness`. It is what another pulse
      energy does.
    - contrast: log|x| stretched by a factor exp(c) about the logarithm of the image's mean |x|, c uniform
      within +-`contrast`: a power law, what another gain curve of the detector does.

    Zeros (masked pixels) stay zero and signs stay. An offset added to all pixels, the brightness change of
    photographs, would lift the dark outer rings by more than their own height, and is not used.

    Attributes
    ----------
    horizontal_flip, vertical_flip
        Probability of mirroring the last, the last but one axis.
    brightness
        Largest |b|; the default 0.3 varies the intensity by a factor of 0.74 to 1.35.
    contrast
        Largest |c|; the default 0.1 varies the exponent from 0.90 to 1.11.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.1

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a probability in [0, 1]")
        for name in ("brightness", "contrast"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: found {value}, expected a number >= 0")

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of the images.

        Parameters
        ----------
        images
            (N, C, H, W), floating point, any device.
        generator
            A generator **on the CPU**: the 4 N random numbers are drawn there and sent to the images'
            device, so that a seed gives the same changes on every device.

        Returns
        -------
        torch.Tensor
            Same shape, dtype and device.

        Raises
        ------
        ValueError
            Not of rank 4.
        TypeError
            Not floating point.
        """
        if images.dim() != 4:
            raise ValueError(f"images: found shape {tuple(images.shape)}, expected (N, C, H, W)")
        if not images.is_floating_point():
            raise TypeError(f"images: found dtype {images.dtype}, expected a floating one")
        draws = torch.rand(4, images.shape[0], generator=generator, dtype=torch.float64)
        draws = draws.to(images.device)[:, :, None, None, None]
        images = torch.where(draws[0] < self.horizontal_flip, images.flip(-1), images)
        images = torch.where(draws[1] < self.vertical_flip, images.flip(-2), images)
        gain = torch.exp(self.brightness * (2 * draws[2] - 1)).to(images.dtype)
        if self.contrast == 0:
            return images * gain
        exponent = torch.exp(self.contrast * (2 * draws[3] - 1)).to(images.dtype)
        magnitude = images.abs()
        # An all-zero image has no mean to stretch about; any positive pivot leaves it zero.
        pivot = magnitude.mean(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(images.dtype).tiny)
        return torch.copysign(gain * pivot * (magnitude / pivot).pow(exponent), images)
