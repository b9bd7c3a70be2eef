"""Index arithmetic beyond 2^31 elements."""

from __future__ import annotations

import os

import pytest
import torch

from cdifast import ops

ELEMENTS = 2**31 + 64
GIGABYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30

needs_memory = pytest.mark.skipif(GIGABYTES < 16, reason="needs 16 GB of memory")


@needs_memory
def test_log_activation() -> None:
    x = torch.zeros(ELEMENTS, dtype=torch.float16)
    x[-3:] = torch.tensor([1.0, -2.0, 3.0])
    expected = ops.log_activation(x[-4:].clone())
    assert torch.equal(ops.log_activation(x, out=x)[-4:], expected)


@needs_memory
def test_polar_resample() -> None:
    images = torch.zeros(2**31 // 1024**2 + 2, 1024, 1024, dtype=torch.uint8)
    images[-1] = torch.randint(256, (1024, 1024), dtype=torch.uint8)
    assert images.numel() > 2**31
    unwrapped = ops.polar_resample(images, 4, 8)
    assert torch.equal(unwrapped[-1], ops.polar_resample(images[-1], 4, 8))
    assert torch.all(unwrapped[:-1] == 0)


@needs_memory
def test_correlation_map() -> None:
    rings = torch.zeros(2**31 // (2 * 65536) + 1, 2, 65536, dtype=torch.float16)
    rings[-1] = torch.rand(2, 65536)
    assert rings.numel() > 2**31
    maps = ops.correlation_map(rings)
    assert torch.equal(maps[-1], ops.correlation_map(rings[-1]))
    assert torch.all(maps[:-1] == 0)
