"""What is particular to maps straight from frames: they are those of the two operators, in less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contract import check_fused_tiles

from cdifast import ops
from cdifast.ops.dtypes import IMAGE_DTYPES


@pytest.mark.parametrize("dtype", IMAGE_DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("per_image", [False, True])
def test_equals_the_two_operators_one_after_the_other(dtype: torch.dtype, per_image: bool) -> None:
    frames = (200 * torch.rand(11, 50, 54)).to(dtype)
    geometry: dict[str, Any] = {"mask": torch.rand(50, 54) > 0.05, "center": (24.2, 27.9), "r_min": 3.0, "r_max": 26.0}
    if per_image:
        geometry["center"] = torch.tensor([24.2, 27.9]) + torch.rand(11, 2)
        geometry["mask"] = torch.rand(11, 50, 54) > 0.05
    options: dict[str, Any] = {"order": 4, "normalize": "mean", "fill": -2.0}
    exact = frames if dtype == torch.float64 else frames.float()  # half types are unwrapped in float32 here
    unwrapped, weight = ops.polar_resample(exact, 20, 48, **geometry, return_weight=True)
    expected, cells = ops.correlation_map(unwrapped, weight=weight, **options, return_weight=True)
    found, found_cells = ops.polar_correlation_map(frames, 20, 48, **geometry, **options, return_weight=True)
    assert torch.equal(found_cells, cells)
    assert torch.equal(found, expected.to(found.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint16, torch.float64])
def test_rings_in_panels_give_the_very_bits_of_rings_in_rows(dtype: torch.dtype) -> None:
    check_fused_tiles(dtype)


def test_gradients_of_images_and_centre_are_those_of_the_two_operators() -> None:
    frames = torch.rand(3, 30, 31, dtype=torch.float64)
    center = torch.tensor([14.3, 15.2], dtype=torch.float64)
    mask = torch.rand(30, 31) > 0.1
    results = []
    for fused in (True, False):
        inputs = frames.clone().requires_grad_(), center.clone().requires_grad_()
        if fused:
            maps = ops.polar_correlation_map(inputs[0], 12, 40, center=inputs[1], mask=mask)
        else:
            maps = ops.correlation_map(
                *ops.polar_resample(inputs[0], 12, 40, center=inputs[1], mask=mask, return_weight=True)[:1],
                weight=ops.polar_resample(frames, 12, 40, center=center, mask=mask, return_weight=True)[1],
            )
        results.append(torch.autograd.grad(maps.square().sum(), inputs))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_largest_counts_of_uint16_are_not_cut() -> None:
    frames = torch.full((2, 9, 9), 65535, dtype=torch.uint16)
    found = ops.polar_correlation_map(frames, 3, 16, order=2)
    expected = torch.full((2, 3, 3), 65535.0**2).tril()
    torch.testing.assert_close(found.tril(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_a_frame_of_a_batch_gets_the_very_bits_that_it_gets_alone(masked: bool) -> None:
    frames = torch.randint(0, 60_000, (21, 25, 22), dtype=torch.int32).to(torch.uint16)
    mask = torch.rand(25, 22) > 0.2 if masked else None
    whole = ops.polar_correlation_map(frames, 16, 37, mask=mask, normalize="mean", fill=-1.0)
    alone = [ops.polar_correlation_map(f[None], 16, 37, mask=mask, normalize="mean", fill=-1.0) for f in frames]
    assert torch.equal(whole, torch.cat(alone))
