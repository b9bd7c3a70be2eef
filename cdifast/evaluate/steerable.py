"""The complex steerable pyramid, for CW-SSIM.

Simoncelli and Freeman, ICIP 1995; its complex form, Portilla and Simoncelli, Int. J. Comput. Vis. 40 (2000) 49.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class SteerablePyramid:
    """Oriented band-pass filters, an octave apart, in the Fourier domain; images are taken as periodic.

    With r the frequency over the Nyquist frequency and theta its direction, band (l, b) of K orientations is

    ``B(r, theta) = cos(pi/2 (log2 r + l + 1)) A cos(theta - pi b / K)^(K - 1)``

    where the first cosine's argument is within pi/2 and the second one's too (half a plane: that makes the coefficients
    complex, with the real pyramid's as their real part), else 0; ``A = 2^K (K - 1)! / sqrt(K (2 K - 2)!)``, so that
    all bands of a level together pass the octave's power. The first cosine is the product of the pyramid's recursive
    low- and high-pass filters, written down at once. Level l is sampled at every 2^l-th pixel, which loses nothing: its
    band ends at 2^-l of the Nyquist frequency. The low-pass and high-pass residues, which have no orientation, are left
    out.

    Parameters
    ----------
    height, width : int
        Size of the images, divisible by 2^(levels - 1).
    levels : int
        Octaves, from fine to coarse.
    orientations : int
        K, at least 2.
    dtype : torch.dtype
        float32 or float64.
    device : torch.device or str

    Raises
    ------
    ValueError
        A size that the levels do not divide, no level, fewer than two orientations.
    """

    def __init__(
        self,
        height: int,
        width: int,
        levels: int,
        orientations: int = 16,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if levels < 1:
            raise ValueError(f"levels: found {levels}, expected at least 1")
        if orientations < 2:
            raise ValueError(f"orientations: found {orientations}, expected at least 2")
        step = 2 ** (levels - 1)
        if height % step or width % step:
            raise ValueError(f"levels: found {levels} for images of {height} x {width}, sides must divide by {step}")
        self.size = (height, width)
        self.levels, self.orientations = levels, orientations
        self.dtype, self.device = dtype, torch.device(device)

    def spectrum(self, images: Tensor) -> Tensor:
        """What `band` takes: the Fourier transform of real images (..., H, W)."""
        return torch.fft.fft2(images.to(self.device, self.dtype))

    def band(self, spectrum: Tensor, level: int, orientation: int) -> Tensor:
        """Complex coefficients (..., H / 2^level, W / 2^level) of one band; samples of the filtered image."""
        height, width = (side >> level for side in self.size)
        kept = _cropped(_cropped(spectrum, -1, width), -2, height)
        # The shorter inverse transform divides by its own number of samples.
        return torch.fft.ifft2(kept * self.filter(level, orientation)) / 4**level

    def filter(self, level: int, orientation: int) -> Tensor:
        """The band's filter (H / 2^level, W / 2^level), complex, zero frequency first."""
        y, x = (
            2.0**-level * 2 * torch.fft.fftfreq(side >> level, dtype=torch.float64, device=self.device)
            for side in self.size
        )
        radius = (x.square() + y[:, None].square()).sqrt()
        octaves = radius.clamp_min(1e-30).log2() + level + 1
        radial = torch.where(octaves.abs() < 1, torch.cos(math.pi / 2 * octaves), 0)
        order = self.orientations - 1
        cosine = torch.cos(torch.atan2(y[:, None], x) - math.pi * orientation / self.orientations)
        angular = cosine.clamp_min(0) ** order
        log_gain = self.orientations * math.log(2) + math.lgamma(order + 1)
        log_gain -= 0.5 * (math.log(self.orientations) + math.lgamma(2 * order + 1))
        gain = math.exp(log_gain) * (-1j) ** order
        return (radial * angular * gain).to(torch.complex128 if self.dtype == torch.float64 else torch.complex64)


def _cropped(spectrum: Tensor, axis: int, size: int) -> Tensor:
    """The ``size`` lowest frequencies of an axis, negative ones last, as `torch.fft.fftfreq` orders them."""
    full = spectrum.shape[axis]
    if size == full:
        return spectrum
    positive = (size + 1) // 2
    return torch.cat([spectrum.narrow(axis, 0, positive), spectrum.narrow(axis, full - size // 2, size // 2)], dim=axis)
