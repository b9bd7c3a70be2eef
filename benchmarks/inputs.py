"""What the benchmarks compute on: photon counts of ring patterns, and the sizes that all families share."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

# Side of the image in pixels -> (radii, angles) of its unwrapped map.
SHAPES = {128: (64, 128), 224: (112, 224), 512: (256, 512), 1024: (512, 720)}
# Images in one call: 13 to 51 MB as float32, more than the private caches hold.
BATCH = {128: 256, 224: 256, 512: 32, 1024: 8}
SIZES = tuple(SHAPES)
DTYPES = {"float32": torch.float32, "uint16": torch.uint16}

# The output of the network's first convolution (64 channels, stride 2) on images of that side: 1 to 17 million
# elements; the second is the 12.8 million of the ratio rows.
ACTIVATIONS = {128: (4, 64, 64, 64), 224: (16, 64, 112, 112), 512: (2, 64, 256, 256), 1024: (1, 64, 512, 512)}
# Orders of the angular harmonics.
ORDERS = (0, 2, 4, 6, 8, 10, 12, 16)
# Maps in one call of the angular correlation. All pairs of 512 radii would be 0.4 GB a map: there only the diagonal.
ALL_PAIRS = {128: 8, 224: 4, 512: 1}
DIAGONAL = {128: 256, 224: 256, 512: 32, 1024: 8}
# Frames of any size to maps of this many radii, over this many angles; frames in one call, 33 MB of uint16 at 512.
FUSED_SHAPE = (112, 224)
FUSED_BATCH = {128: 256, 224: 256, 512: 64, 1024: 16}

# Images whose float64 result the error is taken from, and that the slowest peers get.
FEW = 2
_DIFFERENT = 4


@functools.lru_cache(maxsize=4)
def frames(size: int, dtype: str = "float32", count: int | None = None) -> Tensor:
    """Detector frames, (count, size, size): Poisson counts up to about 1000, the same values in every dtype."""
    count = BATCH[size] if count is None else count
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = axis[:, None], axis
    u = torch.hypot(y, x) / size
    phi = torch.atan2(-y, x)
    number = torch.arange(_DIFFERENT)[:, None, None]
    rings = 1 + torch.cos(2 * math.pi * (8 + number) * u) * torch.cos((2 + 2 * number) * phi)
    counts = torch.poisson(400 * rings * torch.exp(-3 * u), generator=torch.Generator().manual_seed(0))
    repeats = -(-count // _DIFFERENT)
    return counts.to(DTYPES[dtype]).repeat(repeats, 1, 1)[:count]


@functools.lru_cache(maxsize=4)
def unwrapped(size: int, count: int | None = None) -> Tensor:
    """Unwrapped maps, (count, radii, angles) float32, of :func:`frames`."""
    from cdifast import ops

    return ops.polar_resample(frames(size, "float32", count), *SHAPES[size])


@functools.lru_cache(maxsize=4)
def good_pixels(size: int) -> Tensor:
    """A mask, True = good, with 1 % bad pixels."""
    return torch.rand(size, size, generator=torch.Generator().manual_seed(1)) > 0.01


@functools.lru_cache(maxsize=4)
def centers(size: int, count: int | None = None) -> Tensor:
    """A centre (y, x) for each image, up to two pixels off the middle, (count, 2) float64."""
    count = BATCH[size] if count is None else count
    offset = torch.rand(BATCH[size], 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return ((size - 1) / 2 + 4 * offset - 2)[:count]
