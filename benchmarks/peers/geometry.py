"""The grid of polar_resample in the peers' terms: where each sample lies, as float32 maps or as a normalised grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Polar:
    """Radii from 0 to the largest circle round the middle of a square image, angles without the end point.

    Attributes
    ----------
    size
        Side of the image.
    n_radial, n_angular
        Shape of the unwrapped map.
    """

    size: int
    n_radial: int
    n_angular: int

    @property
    def center(self) -> float:
        """Middle of the image, in y and x."""
        return (self.size - 1) / 2

    @property
    def r_max(self) -> float:
        """The last radius."""
        return (self.size - 1) / 2

    @property
    def warp_radius(self) -> float:
        """``maxRadius`` of warpPolar, whose radius ``n_radial`` (one beyond the last) is the maximum."""
        return self.r_max * self.n_radial / (self.n_radial - 1)

    def offsets(self) -> tuple[Tensor, Tensor]:
        """``(y, x)`` of every sample from the centre, float64, each (n_radial, n_angular)."""
        r = torch.linspace(0, self.r_max, self.n_radial, dtype=torch.float64)[:, None]
        phi = 2 * math.pi / self.n_angular * torch.arange(self.n_angular, dtype=torch.float64)
        return -r * torch.sin(phi), r * torch.cos(phi)

    def maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``map1`` (x) and ``map2`` (y) of cv2.remap."""
        y, x = self.offsets()
        return (self.center + x).float().numpy(), (self.center + y).float().numpy()

    def grid(self) -> Tensor:
        """``grid`` of grid_sample with align_corners=True, float32 (n_radial, n_angular, 2)."""
        y, x = self.offsets()
        return (torch.stack([x, y], dim=-1) / self.center).float()

    def inverse_offsets(self) -> tuple[Tensor, Tensor]:
        """Fractional ``(radius index, angle index)`` of every pixel of the image, float64, each (size, size)."""
        axis = torch.arange(self.size, dtype=torch.float64) - self.center
        y, x = axis[:, None], axis
        radius = torch.hypot(y, x) * (self.n_radial - 1) / self.r_max
        angle = torch.atan2(-y, x).remainder(2 * math.pi) * self.n_angular / (2 * math.pi)
        return radius, angle


def from_warp_polar(warped: NDArray[np.generic]) -> Tensor:
    """From (..., angle, radius), clockwise, to (..., radius, angle), counter-clockwise as displayed."""
    counter = np.roll(warped[..., ::-1, :], 1, axis=-2)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(counter, -1, -2)))


def to_warp_polar(unwrapped: NDArray[np.generic]) -> NDArray[np.generic]:
    """The inverse of :func:`from_warp_polar`."""
    clockwise = np.moveaxis(unwrapped, -1, -2)
    return np.ascontiguousarray(np.roll(clockwise, -1, axis=-2)[..., ::-1, :])
