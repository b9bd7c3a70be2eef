"""From the unwrapped map back to the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, backward, peer_module

from .geometry import Polar, to_warp_polar
from .polar import ROUNDED


def warp_polar_inverse(unwrapped: Tensor, grid: Polar) -> Call:
    """OpenCV; it gets the map in its own order of axes. In this direction it leaves ``dst`` untouched (5.0)."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    arrays = to_warp_polar(unwrapped.numpy())
    flags = cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS | cv2.WARP_INVERSE_MAP
    middle = (grid.center, grid.center)

    def run() -> Any:
        return [cv2.warpPolar(array, (grid.size, grid.size), middle, grid.warp_radius, flags) for array in arrays]

    return Call(run, len(unwrapped), lambda images: torch.from_numpy(np.stack(images)), tolerance=ROUNDED)


def _positions(grid: Polar, count: int) -> Tensor:
    """grid_sample's grid on a map whose first angle is repeated behind the last, as it does not go round."""
    radius, angle = grid.inverse_offsets()
    normalised = torch.stack([2 * angle / grid.n_angular - 1, 2 * radius / (grid.n_radial - 1) - 1], dim=-1)
    return normalised.float().expand(count, -1, -1, -1)


def _sample(unwrapped: Tensor, positions: Tensor) -> Tensor:
    closed = torch.cat([unwrapped, unwrapped[..., :1]], dim=-1)
    return torch.nn.functional.grid_sample(closed[:, None], positions, align_corners=True)[:, 0]


def grid_sample(unwrapped: Tensor, grid: Polar) -> Call:
    """torch in a batch."""
    positions = _positions(grid, len(unwrapped))
    return Call(lambda: _sample(unwrapped.float(), positions), len(unwrapped))


def grid_sample_backward(unwrapped: Tensor, grid: Polar) -> Call:
    """Its gradient in the map."""
    positions = _positions(grid, len(unwrapped))
    return backward(lambda x: _sample(x, positions), unwrapped)
