"""What is particular to the way back from unwrapped maps: geometry, ends, adjoint; an oracle outside the package."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cdifast import ops


def position(
    height: int, width: int, center: tuple[float, float], r_min: float, step: float, n_angular: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ring and column of every pixel, from complex numbers instead of the package's arc tangent."""
    y, x = np.mgrid[:height, :width]
    z = (x - center[1]) + 1j * (center[0] - y)
    return (np.abs(z) - r_min) / step, np.mod(np.angle(z) / (2 * np.pi), 1.0) * n_angular


@pytest.mark.parametrize("center", [(10.0, 11.0), (9.37, 11.81)])
@pytest.mark.parametrize("r_min", [0.0, 2.5])
def test_equals_scipy_map_coordinates_between_the_rings(center: tuple[float, float], r_min: float) -> None:
    n_radial, n_angular = 9, 31
    unwrapped = np.random.default_rng(1).normal(size=(n_radial, n_angular))
    row, column = position(21, 23, center, r_min, (8.9 - r_min) / (n_radial - 1), n_angular)
    padded = np.concatenate([unwrapped, unwrapped[:, :1]], axis=1)  # angles go round
    expected = map_coordinates(padded, [row, column], order=1)
    found, weight = ops.cartesian_resample(
        torch.from_numpy(unwrapped), 21, 23, center=center, r_min=r_min, r_max=8.9, fill=-7.0, return_weight=True
    )
    inside = (row >= 0) & (row <= n_radial - 1)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(found.numpy()[inside], expected[inside], rtol=0, atol=1e-11)
    # Half a step beyond the first and the last ring there is their value, and nothing further out.
    beyond = (row > n_radial - 0.5 + 1e-5) | (row < -0.5 - 1e-5)
    assert np.all(found.numpy()[beyond] == -7.0)
    assert np.all(weight.numpy()[beyond] == 0)
    assert np.all(weight.numpy()[~beyond & ~(np.abs(row - n_radial + 0.5) < 1e-5)] >= 0.5 - 1e-5)


def test_a_smooth_image_survives_the_way_there_and_back() -> None:
    y, x = torch.meshgrid(*2 * [torch.arange(65, dtype=torch.float64) - 32], indexing="ij")
    image = torch.exp(-(x**2 + y**2) / 300) * (1 + 0.1 * x / 32)
    back, weight = ops.cartesian_resample(ops.polar_resample(image, 129, 360), 65, 65, return_weight=True)
    inside = weight == 1
    assert inside.double().mean() > 0.7
    assert float((back - image)[inside].abs().max()) < 2e-3


def test_a_ring_of_one_covers_half_a_pixel() -> None:
    found = ops.cartesian_resample(torch.ones(1, 16), 21, 21, r_min=5.0, r_max=5.0)
    y, x = np.mgrid[:21, :21]
    assert np.array_equal(found.numpy() == 1, np.abs(np.hypot(y - 10, x - 10) - 5) <= 0.5)
    with pytest.raises(ValueError, match="2 rings need r_min < r_max"):
        ops.cartesian_resample(torch.ones(2, 16), 21, 21, r_min=5.0, r_max=5.0)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_backward_is_the_adjoint(interpolation: str) -> None:
    maps = torch.rand(4, 12, 30, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(12, 30) > 0.1
    out = ops.cartesian_resample(maps, 25, 27, mask=mask, center=(11.3, 13.9), interpolation=interpolation)  # type: ignore[call-overload]
    cotangent = torch.rand_like(out)
    (gradient,) = torch.autograd.grad(out, maps, cotangent)
    assert float((out * cotangent).sum()) == pytest.approx(float((gradient * maps).sum()), rel=1e-12)


def test_angle_runs_counter_clockwise_from_the_right_as_displayed() -> None:
    unwrapped = torch.arange(4.0).expand(2, 4)
    image = ops.cartesian_resample(unwrapped, 3, 3, r_min=0.5, r_max=1.5)
    assert [float(image[p]) for p in ((1, 2), (0, 1), (1, 0), (2, 1))] == [0.0, 1.0, 2.0, 3.0]
    assert float(image[2, 2]) == pytest.approx(1.5)  # between the last angle and the first
    assert math.isclose(float(image[0, 2]), 0.5)
