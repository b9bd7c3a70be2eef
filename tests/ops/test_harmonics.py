"""What is particular to angular harmonics: direct sums, closed forms, and the map that is made of them."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from cdifast import ops


def test_equals_direct_sums_over_valid_samples() -> None:
    generator = np.random.default_rng(1)
    rings = generator.gamma(2.0, size=(3, 5, 18))
    weights = (generator.random(rings.shape) > 0.3) * generator.uniform(0.5, 1, rings.shape)
    weights[1, 2] = 0.0  # a ring without any sample
    rings[weights == 0] = np.nan
    orders = [0, 1, -4, 9]
    found = ops.angular_harmonics(torch.from_numpy(rings), orders, weight=torch.from_numpy(weights))
    assert found.shape == (3, 4, 5)
    for n, o, j in np.ndindex(3, 4, 5):
        valid = [k for k in range(18) if weights[n, j, k] > 0]
        total = sum(weights[n, j, k] for k in valid)
        mean = sum(weights[n, j, k] * rings[n, j, k] for k in valid) / total if total else 0.0
        expected: complex = mean
        if orders[o] != 0:
            terms = (
                weights[n, j, k] * (rings[n, j, k] - mean) * cmath.exp(-2j * math.pi * orders[o] * k / 18)
                for k in valid
            )
            expected = sum(terms) / total if total else 0.0
        assert complex(found[n, o, j]) == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("n_angular", [1, 2, 3, 7, 30, 74, 97, 224])
def test_without_weights_equals_numpys_fourier_transform(n_angular: int) -> None:
    rings = torch.rand(2, 4, n_angular, dtype=torch.float64)
    orders = list(range(n_angular // 2 + 1))
    expected = np.moveaxis(np.fft.rfft(rings.numpy(), axis=-1), -1, -2) / n_angular
    np.testing.assert_allclose(ops.angular_harmonics(rings, orders).numpy(), expected, rtol=0, atol=1e-14)
    negative = ops.angular_harmonics(rings, [-n for n in orders])
    np.testing.assert_allclose(negative.numpy(), expected.conj(), rtol=0, atol=1e-14)


def test_float32_is_accurate_for_bright_rings_with_weak_structure() -> None:
    rings = 1e4 + torch.rand(3, 30, 224)
    exact = ops.angular_harmonics(rings.double(), [3, 8])
    found = ops.angular_harmonics(rings, [3, 8])
    assert float((found - exact).abs().norm() / exact.abs().norm()) < 2e-6


def test_the_upper_triangle_of_a_correlation_map_is_their_product() -> None:
    rings = torch.rand(2, 9, 40, dtype=torch.float64)
    weight = (torch.rand(9, 40) > 0.2).double()
    harmonic = ops.angular_harmonics(rings, [5], weight=weight)[:, 0]
    product = (harmonic.conj()[:, :, None] * harmonic[:, None, :]).real
    found = ops.correlation_map(rings, order=5, weight=weight)
    torch.testing.assert_close(found.triu(1), product.triu(1), rtol=1e-12, atol=1e-15)


def test_turning_the_pattern_turns_the_phase() -> None:
    rings = torch.rand(6, 36, dtype=torch.float64)
    turned = ops.angular_harmonics(rings.roll(5, dims=-1), [4])
    expected = ops.angular_harmonics(rings, [4]) * cmath.exp(-2j * math.pi * 4 * 5 / 36)
    torch.testing.assert_close(turned, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_is_complex_in_the_type_of_the_arithmetic(dtype: torch.dtype) -> None:
    rings = torch.rand(2, 3, 16).to(dtype).requires_grad_()
    found = ops.angular_harmonics(rings, torch.tensor([2, 3]))
    assert found.dtype == (torch.complex128 if dtype == torch.float64 else torch.complex64)
    found.abs().sum().backward()
    assert rings.grad is not None
    assert rings.grad.dtype == dtype
    out = torch.empty_like(found)
    with torch.no_grad():
        assert ops.angular_harmonics(rings, [2, 3], out=out) is out
    assert torch.equal(out, found.detach())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"orders": [9]}, ValueError, "9"),
        ({"orders": [1.5]}, TypeError, "orders"),
        ({"weight": torch.ones(4, 15)}, ValueError, r"weight must have shape \(4, 16\)"),
        ({"weight": torch.ones(4, 16, requires_grad=True)}, ValueError, r"weight.detach\(\)"),
        ({"unwrapped": torch.ones(16)}, ValueError, "unwrapped must have shape"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    call: dict[str, object] = {"unwrapped": torch.ones(4, 16), "orders": [2]} | arguments
    with pytest.raises(error, match=message):
        ops.angular_harmonics(**call)  # type: ignore[arg-type]
