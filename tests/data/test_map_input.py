"""Correlation maps as network input: the same as the operators one by one, and what the card says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cdifast import ops
from cdifast.data import FrameError, InputPreparation, MapPreparation, prepare_batch, prepare_frames
from cdifast.data.prepare import preparation_of
from cdifast.nn import scale_triangles


def frames(count: int = 5, seed: int = 0) -> torch.Tensor:
    """Counts that vary with radius and angle."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(40.0) - 19.5, torch.arange(40.0) - 19.5, indexing="ij")
    radius, angle = torch.hypot(y, x), torch.atan2(-y, x)
    amplitude = torch.rand(count, 1, 1, generator=generator)
    rate = 200 * torch.exp(-radius / 6) * (1 + 0.5 * amplitude * torch.cos(8 * angle))
    return torch.poisson(rate, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint16, torch.int64, torch.float64])
def test_equals_the_operators_one_by_one(dtype: torch.dtype) -> None:
    raw = frames()
    mask = torch.ones(40, 40, dtype=torch.bool)
    mask[18:22] = False
    how = MapPreparation(size=16, n_angular=48, normalize="mean", r_min=3)
    found = prepare_batch(raw.to(dtype), mask.numpy(), how)
    unwrapped, weight = ops.polar_resample(raw, 16, 48, mask=mask, r_min=3, return_weight=True)
    maps = ops.correlation_map(unwrapped, weight=weight, normalize="mean")
    expected = 10 * scale_triangles(maps, "log")[:, None]
    assert found.shape == (5, 1, 16, 16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.amin() >= 0
    assert found.amax() == pytest.approx(10)


def test_finer_maps_are_averaged_triangle_by_triangle() -> None:
    raw, mask = frames(2), torch.ones(40, 40, dtype=torch.bool)
    mask[:, 20:22] = False
    mask[12:28, 12:28] = False  # the innermost rings have no samples
    how = MapPreparation(size=6, oversampling=3, n_angular=60, min_weight=0.3, scaling="none")
    found = prepare_batch(raw, mask.numpy(), how)[:, 0].numpy()
    unwrapped, weight = ops.polar_resample(raw, 18, 60, mask=mask, return_weight=True)
    fine = ops.correlation_map(unwrapped, weight=weight, min_weight=0.3, fill=-1e30).numpy()
    assert (fine == -1e30).any()
    expected = np.zeros((2, 6, 6))
    for n, i, j in np.ndindex(2, 6, 6):
        cells = [
            fine[n, 3 * i + a, 3 * j + b]
            for a, b in np.ndindex(3, 3)
            if (3 * i + a >= 3 * j + b) == (i >= j) and fine[n, 3 * i + a, 3 * j + b] != -1e30
        ]
        expected[n, i, j] = np.mean(cells) if cells else 0
    assert (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_noise_averages_out_of_a_map_that_covers_the_frame() -> None:
    generator = torch.Generator().manual_seed(4)
    raw = torch.rand(40, 128, 128, generator=generator) - 0.5
    how = MapPreparation.covering((128, 128), 16, r_min=32, scaling="none")
    assert (how.oversampling, how.n_angular) == (2, 256)
    assert MapPreparation.covering((128, 128), 16, n_angular=300).n_angular == 300
    assert MapPreparation.covering((128, 128), 64) == MapPreparation(64)
    assert MapPreparation.covering((64, 900), 8, r_max=40).oversampling == 5
    i, j = np.tril_indices(16, -3)  # of rings that share no pixel
    deviations = [
        prepare_frames(raw, None, MapPreparation(16, 300, oversampling=n, r_min=32, scaling="none"))[:, 0, i, j].std()
        for n in (1, 2)
    ]
    # A cell is the mean of four products: half the deviation if rings a pixel apart were independent, and bilinear
    # sampling makes them correlated by a half at most.
    assert 0.5 < deviations[1] / deviations[0] < 0.75


def test_a_stack_with_masks_of_its_own_frames_and_chunks() -> None:
    raw = frames(7)
    generator = np.random.default_rng(0)
    masks = generator.random((7, 40, 40)) > 0.05
    how = MapPreparation(size=12)
    whole = prepare_frames(raw.numpy(), masks, how, chunk=3)
    for index in range(7):
        one = prepare_batch(raw[index : index + 1], masks[index], how)
        torch.testing.assert_close(whole[index : index + 1], one)


def test_what_a_bad_pixel_holds_does_not_matter_and_a_good_one_is_named() -> None:
    raw = frames(4).numpy()
    mask = np.ones((40, 40), bool)
    mask[10, 12] = False
    clean = prepare_batch(raw, mask, MapPreparation(size=12))
    raw[:, 10, 12] = math.nan
    torch.testing.assert_close(prepare_batch(raw, mask, MapPreparation(size=12)), clean)
    raw[2, 20, 21] = math.inf
    with pytest.raises(FrameError, match=r"(?s)frame 2.*\(20, 21\)|\(20, 21\).*2"):
        prepare_batch(raw, mask, MapPreparation(size=12))


@pytest.mark.parametrize(
    "preparation", [InputPreparation(32, "minmax"), MapPreparation(20, order=4, center=(3.0, 4.5), scaling="minmax")]
)
def test_the_card_gives_it_back(preparation: InputPreparation | MapPreparation) -> None:
    assert preparation_of(preparation.to_dict()) == preparation


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "does not say"),
        ({"kind": "holograms", "size": 4}, "found kind 'holograms'"),
        ({"kind": "correlation maps", "sise": 4}, "unknown entries sise"),
        ({"sise": 4}, "unknown entries sise"),
    ],
)
def test_a_card_that_says_something_else_is_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preparation_of(content)


@pytest.mark.parametrize("change", [{"size": 1}, {"scaling": "log2"}, {"level": 0.0}])
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        MapPreparation(**change)  # type: ignore[arg-type]


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask: found shape \(39, 40\)"):
        prepare_batch(frames(), np.ones((39, 40), bool), MapPreparation(size=12))
