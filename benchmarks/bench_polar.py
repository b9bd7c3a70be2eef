"""Polar resampling of 224 x 224 to 112 radii x 224 angles, forward: ours, the reference, grid_sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from cdifast import ops, reference

BATCH = 64


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(BATCH, 224, 224, generator=torch.Generator().manual_seed(0))


def grid() -> torch.Tensor:
    """The sampling positions as grid_sample takes them: (x, y) from -1 to 1."""
    r = torch.linspace(0, 1, 112)[:, None]
    phi = 2 * math.pi / 224 * torch.arange(224)
    return torch.stack([r * torch.cos(phi), -r * torch.sin(phi)], dim=-1)


@pytest.mark.benchmark(group="polar resampling 224x224 -> 112x224, 64 float32 images")
@pytest.mark.parametrize("name", ["ours", "ours-uint16", "reference", "grid_sample"])
def test_forward(name: str, images: torch.Tensor, timed: Callable[..., None]) -> None:
    if name == "ours-uint16":
        images = (images * 1000).to(torch.uint16)
    positions = grid().expand(BATCH, -1, -1, -1)
    calls = {
        "ours": lambda: ops.polar_resample(images, 112, 224),
        "ours-uint16": lambda: ops.polar_resample(images, 112, 224),
        "reference": lambda: reference.polar_resample(images, 112, 224)[0],
        "grid_sample": lambda: torch.nn.functional.grid_sample(images[:, None], positions, align_corners=True)[:, 0],
    }
    timed(calls[name], reference.polar_resample(images.double(), 112, 224)[0], BATCH)
