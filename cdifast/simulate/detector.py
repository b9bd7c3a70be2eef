"""A flat pixel detector behind the particle: which direction each of its pixels sees."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

Centre = tuple[float, float]
"""Where the beam meets the detector: (y, x) from its middle, as fractions of the rim's radius."""

MOST_OFF_CENTRE = 0.05
"""Largest component of a :data:`Centre`."""

SATURATION = 65535
"""Largest count of a pixel, so that every image fits unsigned 16-bit files."""

_TAPS = 6
_GUARD = _TAPS // 2
# Largest phase (rad) of the field between two grid points. Six-point Lagrange interpolation of exp(i w t) errs by
# at most (0.5 * 1.5 * 2.5)^2 / 6! * w^6 = 4.9e-3 w^6, half-way: 5.7e-4 for 0.7.
_PHASE_STEP = 0.7


@dataclass(frozen=True)
class FlatDetector:
    """A flat detector with a central hole, perpendicular to the beam.

    Attributes
    ----------
    size : int
        Pixels along each side; pixel centres on integers, the middle at ``(size - 1) / 2``.
    distance : float
        From the particle, in m.
    max_angle : float
        Scattering angle in radians at the rim: the circle that touches the image's four sides.
    hole : float
        Radius of the central hole as a fraction of the rim's.
    round : bool
        A round sensor (micro-channel plate) records nothing outside the rim, a square one does.
    gap : float
        Height of a horizontal gap through the middle, between two halves, as a fraction of the side.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    size: int
    distance: float = 0.065
    max_angle: float = math.radians(30)
    hole: float = 0.3
    round: bool = True
    gap: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"size must be at least 16 pixels, not {self.size}")
        if not self.distance > 0:
            raise ValueError(f"distance must be positive (m), not {self.distance}")
        if not 0 < self.max_angle <= math.pi / 4:
            raise ValueError(f"max_angle must lie in (0, pi/4] radians, not {self.max_angle}")
        if not 0 <= self.hole < 1:
            raise ValueError(f"hole must be a fraction of the rim's radius in [0, 1), not {self.hole}")
        if not 0 <= self.gap < 1:
            raise ValueError(f"gap must be a fraction of the side in [0, 1), not {self.gap}")

    @property
    def pixel_pitch(self) -> float:
        """Side of a pixel in m."""
        return 2 * self.distance * math.tan(self.max_angle) / self.size

    def coordinates(self) -> Tensor:
        """``(size,)`` float64 distances in m of pixel centres from the middle, along either side."""
        return (torch.arange(self.size, dtype=torch.float64) - (self.size - 1) / 2) * self.pixel_pitch

    def from_beam(self, centre: Centre = (0.0, 0.0)) -> tuple[Tensor, Tensor]:
        """``x (1, size)`` and ``y (size, 1)`` float64: distances in m of pixel centres from the beam.

        Parameters
        ----------
        centre : (float, float)
            Where the beam is (:data:`Centre`), each at most :data:`MOST_OFF_CENTRE`.

        Raises
        ------
        ValueError
            If it is farther off.
        """
        if not all(abs(part) <= MOST_OFF_CENTRE for part in centre):
            raise ValueError(f"centre must be within {MOST_OFF_CENTRE} of the rim's radius, not {centre}")
        c = self.coordinates()
        rim = self.distance * math.tan(self.max_angle)
        return c[None, :] - centre[1] * rim, c[:, None] - centre[0] * rim

    def direction_cosines(self, centre: Centre = (0.0, 0.0)) -> tuple[Tensor, Tensor]:
        """``(s_x, s_y)``, each ``(size, size)`` float64: q_x = k s_x and q_y = k s_y of every pixel.

        ``s_x = x / sqrt(x^2 + y^2 + L^2)``: the transfer projected across the beam is k sin(theta), not
        k tan(theta).
        """
        x, y = self.from_beam(centre)
        reach = (x**2 + y**2 + self.distance**2).sqrt()
        return x / reach, y / reach

    def solid_angle(self, centre: Centre = (0.0, 0.0)) -> Tensor:
        """``(size, size)`` float64 solid angle of each pixel relative to one on the axis: cos^3(theta).

        Two factors cos(theta) from the distance L / cos(theta), squared, and one from the oblique incidence.
        """
        x, y = self.from_beam(centre)
        cosine = (1 + (x**2 + y**2) / self.distance**2).rsqrt()
        return cosine * cosine * cosine

    def lit(self) -> Tensor:
        """``(size, size)`` bool: pixels on the sensor, outside hole and gap. The beam's centre does not matter."""
        c = self.coordinates()
        rim = self.distance * math.tan(self.max_angle)
        radius = (c[None, :] ** 2 + c[:, None] ** 2).sqrt() / rim
        lit = radius >= self.hole
        if self.round:
            lit &= radius <= 1
        return lit & (c[:, None].abs() >= self.gap * rim)

    def direction_grid(self, reach: float) -> Tensor:
        """Uniform grid of direction cosines from which :meth:`resample` can interpolate.

        Parameters
        ----------
        reach : float
            Largest distance from the origin of any matter, in wavelengths: it limits how fast the field
            varies.

        Returns
        -------
        Tensor
            ``(n,)`` float64, symmetric about 0; ``n`` is a multiple of 8, so that few different grids occur.
        """
        # d(phase)/d(s_x) = k (x + z tan(theta)), at most k reach / cos(theta)
        fastest = 2 * math.pi * reach / math.cos(self.max_angle)
        count = 1 + 2 * self._edge() * fastest / _PHASE_STEP + 2 * _GUARD
        n = 8 * max(3, math.ceil(count / 8))
        return (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * _grid_step(self, n)

    def _edge(self) -> float:
        """Largest direction cosine of a pixel, the beam off its centre by as much as may be."""
        return math.sin(math.atan((1 + MOST_OFF_CENTRE) * math.tan(self.max_angle)))

    def resample(self, field: Tensor, centre: Centre = (0.0, 0.0)) -> Tensor:
        """Field at the detector's pixels, from one on :meth:`direction_grid`.

        Two passes of one-dimensional six-point Lagrange interpolation: first each grid row ``s_y`` along x,
        to the places where the pixel columns cross it, ``s_x = sqrt(1 - s_y^2) x / sqrt(x^2 + L^2)``; then
        each pixel column along y. The *complex* field is interpolated: the intensity varies twice as fast.
        Inside the rim, errors stay below 0.1 % of the local amplitude (bound in the source).

        Parameters
        ----------
        field : Tensor
            ``(..., n, n)`` complex, indexed (s_y, s_x).
        centre : (float, float)
            Where the beam is, see :meth:`from_beam`.

        Returns
        -------
        Tensor
            ``(..., size, size)`` complex, the solid angle not applied.
        """
        n, size = field.shape[-1], self.size
        if field.shape[-2] != n or n <= 2 * _GUARD:
            raise ValueError(f"field must be (..., n, n) with n > {2 * _GUARD}, not {tuple(field.shape)}")
        plan = _resampling_plan(self, n, centre, field.real.dtype, field.device)
        lead = field.shape[:-2]
        flat = field.reshape(-1, n, n)
        columns = _interpolate(flat, plan[0], plan[1], -1, (len(flat), n, size))
        pixels = _interpolate(columns, plan[2], plan[3], -2, (len(flat), size, size))
        return pixels.reshape(*lead, size, size)


def _grid_step(detector: FlatDetector, n: int) -> float:
    return 2 * detector._edge() / (n - 1 - 2 * _GUARD)


@functools.lru_cache(maxsize=16)
def _resampling_plan(
    detector: FlatDetector, n: int, centre: Centre, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First tap and weights of each pass: rows ``(n, size)``, ``(taps, n, size)``; columns likewise."""
    x, _ = detector.from_beam(centre)
    s = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * _grid_step(detector, n)
    across = (1 - s**2).clamp_min(0).sqrt()[:, None] * (x / (x**2 + detector.distance**2).sqrt())
    down = detector.direction_cosines(centre)[1]
    plan = []
    for target in (across, down):
        first, weights = _lagrange(target / _grid_step(detector, n) + (n - 1) / 2, n, dtype)
        plan += [first.to(device), weights.to(device)]
    return plan[0], plan[1], plan[2], plan[3]


def _lagrange(position: Tensor, n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """First tap (int64) and weights ``(taps, ...)`` of Lagrange interpolation at fractional indices."""
    first = (position.floor().long() - (_GUARD - 1)).clamp(0, n - _TAPS)
    t = (position - first).to(dtype)
    # Products of (t - m) over the taps before and after each: two multiplications a tap instead of taps - 1.
    before = [torch.ones_like(t)]
    after = [torch.ones_like(t)]
    for m in range(_TAPS - 1):
        before.append(before[-1] * (t - m))
        after.append(after[-1] * (t - (_TAPS - 1 - m)))
    scale = [math.prod(j - m for m in range(_TAPS) if m != j) for j in range(_TAPS)]
    return first, torch.stack([before[j] * after[_TAPS - 1 - j] / scale[j] for j in range(_TAPS)])


def _interpolate(field: Tensor, first: Tensor, weights: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    out = torch.zeros(shape, dtype=field.dtype, device=field.device)
    for j in range(_TAPS):
        out += weights[j] * field.gather(dim, (first + j).expand(shape))
    return out


def photon_counts(expected: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson counts of the expected photons, saturating at :data:`SATURATION`.

    Parameters
    ----------
    expected : Tensor
        Floating, any shape, non-negative: mean photons of every pixel.
    generator : torch.Generator
        Source of randomness, on ``expected``'s device.

    Returns
    -------
    Tensor
        int32, same shape.
    """
    # Means far above saturation could overflow the sampler and saturate anyway.
    counts = torch.poisson(expected.clamp_max(2.0 * SATURATION), generator=generator)
    return counts.clamp_max(SATURATION).to(torch.int32)
