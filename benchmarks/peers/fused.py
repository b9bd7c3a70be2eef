"""Frames to correlation maps: the best composition of peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, backward, peer_module

from . import correlation, polar
from .geometry import Polar


def _remap_bmm(resample: Call, grid: Polar, convert: bool) -> Call:
    """``resample``'s unwrapped maps (a NumPy buffer), in float32, through bmm and the DFT bin."""
    compute = correlation.BmmMap(resample.items, grid.n_radial, grid.n_angular)
    floating = torch.empty(resample.items, grid.n_radial, grid.n_angular)

    def run() -> Tensor:
        unwrapped = torch.from_numpy(resample.run())
        return compute(floating.copy_(unwrapped) if convert else unwrapped)

    return Call(run, resample.items, tolerance=polar.ROUNDED)


def remap_bmm(frames: Tensor, grid: Polar) -> Call:
    """cv2.remap in the frames' type (integers are rounded), then bmm and the DFT bin."""
    return _remap_bmm(polar.remap(frames, grid), grid, frames.dtype != torch.float32)


def remap_image_threads_bmm(frames: Tensor, grid: Polar) -> Call:
    """The same with one thread an image in remap."""
    return _remap_bmm(polar.remap_image_threads(frames, grid), grid, frames.dtype != torch.float32)


def remap_float_bmm(frames: Tensor, grid: Polar) -> Call:
    """Frames converted one by one to float32, as integers must be for a result that is not rounded."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    map_x, map_y = grid.maps()
    arrays = frames.numpy()
    frame = np.empty(arrays.shape[1:], np.float32)
    unwrapped = np.empty((len(frames), grid.n_radial, grid.n_angular), np.float32)
    compute = correlation.BmmMap(*unwrapped.shape)

    def run() -> Any:
        for array, target in zip(arrays, unwrapped, strict=True):
            np.copyto(frame, array)
            cv2.remap(frame, map_x, map_y, cv2.INTER_LINEAR, dst=target)
        return compute(torch.from_numpy(unwrapped))

    return Call(run, len(frames))


def grid_sample_bmm(frames: Tensor, grid: Polar) -> Call:
    """torch alone."""
    resample = polar.grid_sample(frames, grid)
    compute = correlation.BmmMap(len(frames), grid.n_radial, grid.n_angular)
    return Call(lambda: compute(resample.run()), len(frames))


def grid_sample_bmm_backward(frames: Tensor, grid: Polar) -> Call:
    """Autograd through torch's composition."""
    positions = grid.grid().expand(len(frames), -1, -1, -1)

    def forward(x: Tensor) -> Tensor:
        unwrapped = torch.nn.functional.grid_sample(x[:, None], positions, align_corners=True)[:, 0]
        return correlation.merge(unwrapped)

    return backward(forward, frames)
