"""What is particular to the correlation map: closed forms, direct loops, masks, invariances."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
import torch
from contract import check_map_blocks

from cdifast import ops


def by_loops(
    rings: np.ndarray, weights: np.ndarray, order: int, part: str, normalize: str, fill: float, min_weight: float
) -> np.ndarray:
    """The map of SCIENCE.md from its sums, sample by sample, only over valid ones."""
    n_radial, n_angular = rings.shape
    total, mean, deviation, harmonic = [], [], [], []
    for j in range(n_radial):
        valid = [k for k in range(n_angular) if weights[j, k] > 0]
        w = sum(weights[j, k] for k in valid)
        m = sum(weights[j, k] * rings[j, k] for k in valid) / w if w else 0.0
        v = sum(weights[j, k] * (rings[j, k] - m) ** 2 for k in valid) / w if w else 0.0
        z = sum(weights[j, k] * (rings[j, k] - m) * cmath.exp(-2j * math.pi * order * k / n_angular) for k in valid)
        total.append(w)
        mean.append(m)
        deviation.append(math.sqrt(v))
        harmonic.append(z / w if w else 0.0)

    def normalized(i: int, j: int, value: float) -> float:
        if normalize == "mean":
            return value / (mean[i] * mean[j])
        if normalize == "pearson":
            return value / (deviation[i] * deviation[j])
        return value

    result = np.full((n_radial, n_radial), fill)
    for i in range(n_radial):
        for j in range(n_radial):
            if min(total[i], total[j]) < min_weight * n_angular:
                continue
            if j <= i:
                both = [k for k in range(n_angular) if weights[i, k] > 0 and weights[j, k] > 0]
                pair = sum(weights[i, k] * weights[j, k] for k in both)
                if pair < min_weight * n_angular:
                    continue
                shift = (mean[i], mean[j]) if normalize == "pearson" else (0.0, 0.0)
                products = (
                    weights[i, k] * weights[j, k] * (rings[i, k] - shift[0]) * (rings[j, k] - shift[1]) for k in both
                )
                result[i, j] = normalized(i, j, sum(products) / pair)
            else:
                value = harmonic[i].conjugate() * harmonic[j]
                result[i, j] = normalized(i, j, abs(value) if part == "abs" else value.real)
    return result


@pytest.mark.parametrize("normalize", ["none", "mean", "pearson"])
@pytest.mark.parametrize("part", ["real", "abs"])
@pytest.mark.parametrize("masked", ["no", "binary", "fractional"])
def test_equals_direct_loops_over_valid_samples(normalize: Any, part: Any, masked: str) -> None:
    generator = np.random.default_rng(3)
    rings = generator.gamma(2.0, size=(4, 9, 20))
    weights = np.ones_like(rings)
    if masked != "no":
        weights = (generator.random(rings.shape) > 0.4).astype(float)
        if masked == "fractional":
            weights *= generator.uniform(0.5, 1, rings.shape)
        weights[0, 3] = 0.0  # a ring without any sample
        weights[1, 4, 2:] = 0.0  # and rings with hardly one
        weights[2, 5] = 0.0
        weights[2, 5, ::5] = 1.0
        weights[2, 6, ::5] = 0.0  # two good rings that share no angle
        rings[weights == 0] = np.nan
    found = ops.correlation_map(
        torch.from_numpy(rings),
        order=3,
        part=part,
        normalize=normalize,
        weight=None if masked == "no" else torch.from_numpy(weights),
        fill=-2.5,
        min_weight=0.15,
    )
    for n in range(len(rings)):
        expected = by_loops(rings[n], weights[n], 3, part, normalize, -2.5, 0.15)
        np.testing.assert_allclose(found[n].numpy(), expected, rtol=1e-11, atol=1e-12)
    assert not torch.isnan(found).any()
    if masked != "no":
        assert torch.all(found[0, 3, :] == -2.5)
        assert torch.all(found[0, :, 3] == -2.5)
        assert found[2, 6, 5] == -2.5
        assert found[2, 5, 6] != -2.5


def test_closed_form_of_cosine_rings() -> None:
    """I_j = 1 + a_j cos(8 phi + p_j): C0 = 1 + a_i a_j cos(p_i - p_j) / 2 and C8 = a_i a_j cos(p_i - p_j) / 4."""
    generator = torch.Generator().manual_seed(4)
    amplitude = torch.rand(6, 1, generator=generator, dtype=torch.float64)
    phase = 6 * torch.rand(6, 1, generator=generator, dtype=torch.float64)
    phi = 2 * math.pi * torch.arange(48, dtype=torch.float64) / 48
    rings = 1 + amplitude * torch.cos(8 * phi + phase)
    beat = amplitude * amplitude.T * torch.cos(phase - phase.T)
    expected = (1 + beat / 2).tril() + (beat / 4).triu(1)
    torch.testing.assert_close(ops.correlation_map(rings), expected, rtol=1e-12, atol=1e-14)
    modulus = ops.correlation_map(rings, part="abs").triu(1)
    torch.testing.assert_close(modulus, (amplitude * amplitude.T / 4).triu(1), rtol=1e-12, atol=1e-14)
    # Every other order is empty.
    assert ops.correlation_map(rings, order=5).triu(1).abs().max() < 1e-15


def test_pearson_is_the_correlation_coefficient() -> None:
    rings = torch.rand(7, 40, dtype=torch.float64)
    found = ops.correlation_map(rings, normalize="pearson").tril()
    np.testing.assert_allclose(found.numpy(), np.tril(np.corrcoef(rings.numpy())), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("normalize", ["none", "mean", "pearson"])
def test_turning_the_pattern_leaves_the_map(normalize: Any) -> None:
    rings = torch.rand(5, 12, 36, dtype=torch.float64)
    turned = ops.correlation_map(rings.roll(11, dims=-1), normalize=normalize)
    torch.testing.assert_close(turned, ops.correlation_map(rings, normalize=normalize), rtol=1e-10, atol=1e-12)


def test_float32_is_accurate_for_bright_rings_with_weak_structure() -> None:
    rings = 1e4 + torch.rand(3, 30, 224)
    exact = ops.correlation_map(rings.double(), normalize="pearson")
    found = ops.correlation_map(rings, normalize="pearson")
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_rings_and_the_harmonics_of_bright_ones(dtype: torch.dtype, weighted: bool) -> None:
    check_map_blocks(dtype, weighted=weighted)


def test_rings_without_a_mean_or_spread_give_fill() -> None:
    rings = torch.rand(4, 16)
    rings[1] = 0.0
    rings[2] = 0.7
    mean = ops.correlation_map(rings, normalize="mean", fill=9.0)
    assert torch.all(mean[1] == 9.0)
    assert torch.all(mean[:, 1] == 9.0)
    assert torch.all(mean[2, [0, 2, 3]] != 9.0)
    pearson = ops.correlation_map(rings, normalize="pearson", fill=9.0)
    assert torch.all(pearson[[1, 2]] == 9.0)
    assert torch.all(pearson[:, [1, 2]] == 9.0)
    assert not torch.isnan(pearson).any()
    # No gradient comes from cells without a value, nor NaN.
    rings.requires_grad_()
    ops.correlation_map(rings, normalize="pearson").sum().backward()
    assert rings.grad is not None
    assert torch.all(rings.grad[[1, 2]] == 0)
    assert torch.isfinite(rings.grad).all()


def test_weights_are_returned_as_fractions() -> None:
    weight = torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0.25]])
    maps, cells = ops.correlation_map(
        torch.rand(2, 3, 8), weight=weight, order=2, fill=-1.0, min_weight=0.05, return_weight=True
    )
    expected = [[0.5, 0.5, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]
    assert cells.tolist() == [expected, expected]
    assert torch.equal(maps[0] == -1.0, cells[0] == 0)
    _, full = ops.correlation_map(torch.rand(2, 3, 8), order=2, return_weight=True)
    assert torch.all(full == 1)
    assert full.shape == (2, 3, 3)


def test_map_of_a_masked_image_ignores_what_is_under_the_mask() -> None:
    image = torch.rand(40, 40, dtype=torch.float64)
    good = torch.rand(40, 40) > 0.2
    maps = []
    for under in (0.0, 1e9, float("nan")):
        spoiled = torch.where(good, image, under)
        unwrapped, weight = ops.polar_resample(spoiled, 15, 60, mask=good, return_weight=True)
        maps.append(ops.correlation_map(unwrapped, weight=weight))
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": 0}, ValueError, "order must be at least 1, got 0"),
        ({"order": 9}, ValueError, r"order must be at most n_angular // 2 = 8, got 9"),
        ({"order": 8.0}, TypeError, "order must be an int"),
        ({"part": "imag"}, ValueError, 'part must be "real" or "abs"'),
        ({"normalize": "max"}, ValueError, "normalize must be"),
        ({"min_weight": 2.0}, ValueError, "min_weight must be between 0 and 1"),
        ({"weight": torch.ones(4, 15)}, ValueError, r"weight must have shape \(4, 16\)"),
        ({"weight": torch.ones(4, 16, dtype=torch.bool)}, TypeError, "weight has dtype bool"),
        ({"weight": torch.ones(4, 16, requires_grad=True)}, ValueError, r"pass weight.detach\(\)"),
        ({"unwrapped": torch.ones(16)}, ValueError, "unwrapped must have shape"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    call: dict[str, object] = {"unwrapped": torch.ones(4, 16), "order": 2} | arguments
    with pytest.raises(error, match=message):
        ops.correlation_map(**call)  # type: ignore[call-overload]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_map_weight_and_gradient_agree_on_what_is_enough_weight(dtype: torch.dtype) -> None:
    for n_angular in (16, 30, 64, 100, 224):
        for min_weight in (0.05, 0.15, 0.3, 0.45, 0.7):
            # Rings of exactly the least weight, by a constant: their pairs have less, but for a least weight of 1.
            weight = torch.full((3, n_angular), min_weight, dtype=dtype)
            rings = torch.rand(3, n_angular, dtype=dtype).requires_grad_()
            maps, cells = ops.correlation_map(
                rings, order=2, weight=weight, fill=-9.0, min_weight=min_weight, return_weight=True
            )
            upper = torch.ones(3, 3, dtype=torch.bool).triu(1)
            assert torch.all(maps[upper] != -9.0)
            assert torch.all(cells[upper] > 0)
            (gradient,) = torch.autograd.grad(maps[upper].sum(), rings)
            assert gradient.abs().max() > 0
            assert torch.all(maps[~upper] == -9.0)
            assert torch.all(cells[~upper] == 0)


def test_maps_without_a_radius_are_empty() -> None:
    assert ops.correlation_map(torch.rand(2, 0, 64), weight=torch.rand(0, 64)).shape == (2, 0, 0)
