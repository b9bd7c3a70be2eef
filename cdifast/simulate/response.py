"""How a detector records photons: counting noise, gain, saturation, dead places, stray light, read-out noise."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .detector import SATURATION, FlatDetector

REFERENCE_SIZE = 256
"""Pixels along the side for which :attr:`Response.linear_photons` is stated; larger pixels hold more."""


@dataclass(frozen=True)
class Response:
    """What becomes of the photons that reach a detector. The default is ideal: each photon counts one.

    Everything about the detector itself (gain map, dead place, shape of the stray light) is fixed by
    :attr:`experiment` and the image size, so all shots of an experiment share it; only counting, pulse heights and
    read-out noise differ from shot to shot.

    Attributes
    ----------
    counts_per_photon : float
        Mean signal of one photon, in units of the image.
    gain_spread : float
        Variance of one photon's pulse height over its mean squared. The pulse heights of a micro-channel plate follow
        a Gamma (Polya) distribution; 1 is exponential, a saturated pair of plates has about 0.3.
    pixel_spread : float
        Standard deviation of the gain from pixel to pixel.
    shading : float
        Gain at the left rim less that at the right one, over twice the mean: large-scale change of the gain.
    linear_photons : float
        Photons in a pixel of a 256 x 256 image at which the gain has started to fall: ``n`` photons give ``L ((1 +
        n / (L g))^g - 1)`` with ``g`` the exponent. ``inf``: linear.
    exponent : float
        ``g``, in (0, 1]: at many photons the signal grows with this power.
    dead : float
        Radius of a place beside the hole, to the right, that sees almost nothing (the shadow of what carries the beam
        dump), as a fraction of the rim's; 0 for none.
    stray : float
        Share of the background that is stray light from the hole's edge, falling as 1/r^2, brighter on one side; the
        rest is even.
    halo : float
        Share of each pixel's light that screen and optics spread over its neighbourhood, as a Gaussian.
    halo_width : float
        Its standard deviation as a fraction of the rim's radius.
    readout_noise : float
        Standard deviation in units of the image.
    experiment : int
        Seed of the gain map and the stray light's direction.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    counts_per_photon: float = 1.0
    gain_spread: float = 0.0
    pixel_spread: float = 0.0
    shading: float = 0.0
    linear_photons: float = math.inf
    exponent: float = 1.0
    dead: float = 0.0
    stray: float = 0.0
    halo: float = 0.0
    halo_width: float = 0.1
    readout_noise: float = 0.0
    experiment: int = 0

    def __post_init__(self) -> None:
        for name in ("counts_per_photon", "linear_photons", "halo_width"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("gain_spread", "pixel_spread", "dead", "readout_noise", "experiment"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("shading", "stray", "halo"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        if not 0 < self.exponent <= 1:
            raise ValueError(f"exponent must lie in (0, 1], not {self.exponent}")

    @property
    def ideal(self) -> bool:
        """Whether each photon counts one, everywhere."""
        return self == Response(stray=self.stray, halo_width=self.halo_width, experiment=self.experiment)

    def gain_map(self, detector: FlatDetector) -> Tensor:
        """``(size, size)`` float64 gain relative to the mean: shading and pixel-to-pixel spread; always positive."""
        return _state(self, detector)[0]

    def efficiency(self, detector: FlatDetector) -> Tensor:
        """``(size, size)`` float64 share of the photons that is seen, 1 but for the dead place."""
        return _state(self, detector)[1]

    def good(self, detector: FlatDetector) -> Tensor:
        """``(size, size)`` bool: lit pixels outside the dead place (where less than half is seen)."""
        return detector.lit() & (self.efficiency(detector) > 0.5)

    def background(self, detector: FlatDetector) -> Tensor:
        """``(size, size)`` float64 shape of the background: adds up to 1 over the lit pixels, 0 elsewhere."""
        return _state(self, detector)[2]

    def record(self, expected: Tensor, detector: FlatDetector, generator: torch.Generator) -> Tensor:
        """An image from the photons that are expected in each pixel.

        Parameters
        ----------
        expected : Tensor
            ``(size, size)`` floating, non-negative, 0 where nothing is lit.
        detector : FlatDetector
            Its geometry.
        generator : torch.Generator
            Source of randomness, on ``expected``'s device.

        Returns
        -------
        Tensor
            ``(size, size)`` int32 from 0 to 65535; unlit pixels are 0.
        """
        kind, device = expected.dtype, expected.device
        gain, efficiency, _ = (part.to(device, kind) for part in _state(self, detector))
        photons = torch.poisson((expected * efficiency).clamp_max(2.0 * SATURATION), generator=generator)
        if self.gain_spread > 0:
            photons = _gamma(photons, self.gain_spread, generator)
        signal = photons * gain
        if math.isfinite(self.linear_photons) and self.exponent < 1:
            knee = self.linear_photons * (REFERENCE_SIZE / detector.size) ** 2
            signal = knee * ((1 + signal / (knee * self.exponent)) ** self.exponent - 1)
        if self.halo > 0:
            spread = _gaussian(detector.size, self.halo_width * detector.size / 2).to(device, kind)
            signal = (1 - self.halo) * signal + self.halo * (spread @ signal @ spread)
            signal = torch.where(detector.lit().to(device), signal, 0)
        signal = signal * self.counts_per_photon
        if self.readout_noise > 0:
            noise = torch.empty_like(signal).normal_(0, self.readout_noise, generator=generator)
            signal = torch.where(detector.lit().to(device), signal + noise, 0)
        return signal.round_().clamp_(0, SATURATION).to(torch.int32)


def _gamma(photons: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Sum of ``photons`` pulse heights: Gamma of shape ``photons / spread`` and mean ``photons``.

    By Wilson and Hilferty's cube of a normal variable, cut at 0: mean and variance are right to 1 % from shape 1 on,
    that is for every photon as long as ``spread`` is below 1.
    """
    shape = (photons / spread).clamp_min(1e-6)
    normal = torch.empty_like(photons).normal_(generator=generator)
    cube = (1 - 1 / (9 * shape) + normal / (3 * shape.sqrt())).clamp_min_(0)
    return photons * cube * cube * cube


@functools.lru_cache(maxsize=8)
def _gaussian(size: int, width: float) -> Tensor:
    """``(size, size)`` float64, symmetric: blurs along an axis by a Gaussian ``width`` pixels wide; what leaves the
    image is lost.
    """
    c = torch.arange(size, dtype=torch.float64)
    return torch.exp(-((c[:, None] - c) ** 2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))


@functools.lru_cache(maxsize=8)
def _state(response: Response, detector: FlatDetector) -> tuple[Tensor, Tensor, Tensor]:
    """Gain map, efficiency and shape of the background of one detector: the same for all its shots."""
    rng = np.random.default_rng([response.experiment, detector.size])
    c = detector.coordinates() / (detector.distance * math.tan(detector.max_angle))
    x, y = c[None, :], c[:, None]
    radius = (x**2 + y**2).sqrt()
    pixels = torch.from_numpy(rng.standard_normal((detector.size, detector.size)))
    gain = (1 - response.shading * x) * (1 + response.pixel_spread * pixels).clamp_min(0.05)
    from_dead = ((x - detector.hole) ** 2 + y**2).sqrt()
    width = 2 / detector.size  # a pixel
    efficiency = torch.ones_like(radius)
    if response.dead > 0:
        efficiency = 0.02 + 0.98 * torch.sigmoid((from_dead - response.dead) / width)
    lit = detector.lit()
    direction = rng.uniform(0, 2 * math.pi)
    halo = (1 + 0.6 * (x * math.cos(direction) + y * math.sin(direction)) / radius.clamp_min(1e-9)) / radius.clamp_min(
        max(detector.hole, 0.05)
    ) ** 2
    even = lit / lit.sum()
    halo = torch.where(lit, halo, 0)
    background = (1 - response.stray) * even + response.stray * halo / halo.sum()
    return gain, efficiency, background
