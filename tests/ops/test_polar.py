"""What is particular to polar resampling: geometry, masks, centres, adjoint; oracles outside the package."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import check_tiles
from scipy.ndimage import map_coordinates
from skimage.transform import warp_polar
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cdifast import ops
from cdifast.ops.dtypes import IMAGE_DTYPES


def coordinates(
    shape: tuple[int, int], n_radial: int, n_angular: int, center: tuple[float, float], r_min: float, r_max: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sample positions by SCIENCE.md's formula, written anew in NumPy."""
    r = np.linspace(r_min, r_max, n_radial)[:, None]
    phi = 2 * np.pi * np.arange(n_angular) / n_angular
    return center[0] - r * np.sin(phi), center[1] + r * np.cos(phi)


@pytest.mark.parametrize("shape", [(32, 32), (33, 41), (40, 23)])
@pytest.mark.parametrize("center", [None, (14.2, 12.7)])
def test_equals_scipy_map_coordinates_inside_the_image(
    shape: tuple[int, int], center: tuple[float, float] | None
) -> None:
    image = np.random.default_rng(1).normal(size=shape)
    actual_center = ((shape[0] - 1) / 2, (shape[1] - 1) / 2) if center is None else center
    r_max = (min(shape) - 1) / 2
    y, x = coordinates(shape, 13, 37, actual_center, 0.0, r_max)
    expected = map_coordinates(image, [y, x], order=1)
    found, weight = ops.polar_resample(torch.from_numpy(image), 13, 37, center=center, return_weight=True)
    inside = weight.numpy() == 1
    assert inside.mean() > (0.99 if center is None else 0.5)
    np.testing.assert_allclose(found.numpy()[inside], expected[inside], rtol=0, atol=1e-12)


def test_equals_skimage_warp_polar() -> None:
    """Its angles run clockwise and its radii from 0 on without the last: a grid of ours has the same samples."""
    image = np.random.default_rng(3).normal(size=(61, 61))
    expected = warp_polar(image, center=(30, 30), radius=28, output_shape=(90, 28), order=1).T
    found = ops.polar_resample(torch.from_numpy(image), 28, 90, center=(30.0, 30.0), r_max=27.0)
    clockwise = found.flip(1).roll(1, dims=1)
    np.testing.assert_allclose(clockwise.numpy(), expected, rtol=0, atol=1e-10)


def test_angle_runs_counter_clockwise_from_the_right_as_displayed() -> None:
    image = torch.zeros(21, 21)
    for k, (y, x) in enumerate([(10, 15), (5, 10), (10, 5), (15, 10)]):  # right, up, left, down
        image[y, x] = k + 1
    ring = ops.polar_resample(image, 1, 4, r_min=5.0)
    assert ring.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_a_plane_is_reproduced_exactly() -> None:
    y, x = torch.meshgrid(*2 * [torch.arange(25, dtype=torch.float64)], indexing="ij")
    r = torch.linspace(0, 12, 7, dtype=torch.float64)[:, None]
    phi = 2 * math.pi * torch.arange(30, dtype=torch.float64) / 30
    expected = 3.0 + 2 * (12 + r * torch.cos(phi)) - 5 * (12 - r * torch.sin(phi))
    torch.testing.assert_close(ops.polar_resample(3 + 2 * x - 5 * y, 7, 30), expected, rtol=1e-13, atol=1e-12)


def test_rotating_the_image_by_a_quarter_shifts_the_map() -> None:
    image = torch.rand(31, 31, dtype=torch.float64)
    turned = ops.polar_resample(image.rot90(1), 10, 40)  # counter-clockwise
    torch.testing.assert_close(turned, ops.polar_resample(image, 10, 40).roll(10, dims=1), rtol=0, atol=1e-12)


def masked_by_loops(
    image: np.ndarray, good: np.ndarray, y: np.ndarray, x: np.ndarray, fill: float
) -> tuple[np.ndarray, np.ndarray]:
    """SCIENCE.md's rule for every sample, one neighbour after another."""
    values, weights = np.full(y.shape, fill), np.zeros(y.shape)
    for index in np.ndindex(y.shape):
        total = value = 0.0
        y0, x0 = math.floor(y[index]), math.floor(x[index])
        for py in (y0, y0 + 1):
            for px in (x0, x0 + 1):
                weight = (1 - abs(y[index] - py)) * (1 - abs(x[index] - px))
                if 0 <= py < image.shape[0] and 0 <= px < image.shape[1] and good[py, px]:
                    total += weight
                    value += weight * image[py, px] if weight > 0 else 0.0
        if total >= 0.5:
            values[index], weights[index] = value / total, total
    return values, weights


def test_masked_samples_equal_a_direct_loop() -> None:
    generator = np.random.default_rng(2)
    image = generator.normal(size=(24, 27))
    good = generator.random((24, 27)) > 0.3
    image[~good] = np.nan  # what a masked pixel holds must not matter
    center = (10.37, 14.11)
    y, x = coordinates(image.shape, 11, 50, center, 0.7, 14.9)  # reaches outside the image
    values, weights = masked_by_loops(image, good, y, x, fill=-7.0)
    found, weight = ops.polar_resample(
        torch.from_numpy(image),
        11,
        50,
        center=center,
        r_min=0.7,
        r_max=14.9,
        mask=torch.from_numpy(good),
        fill=-7.0,
        return_weight=True,
    )
    np.testing.assert_allclose(weight.numpy(), weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.numpy(), values, rtol=0, atol=1e-12)
    partial = ((weights > 0) & (weights < 1)).mean()
    assert partial > 0.2
    assert (weights == 0).mean() > 0.1


def test_a_masked_pixel_hit_exactly_is_invalid_and_its_neighbours_are_not() -> None:
    image = torch.arange(81, dtype=torch.float32).reshape(9, 9)
    good = torch.ones(9, 9, dtype=torch.bool)
    good[4, 6] = False
    found, weight = ops.polar_resample(image, 3, 4, r_min=1, r_max=3, mask=good, fill=-1, return_weight=True)
    assert weight[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert found[:, 0].tolist() == [41.0, -1.0, 43.0]


def test_each_image_may_have_its_own_centre_and_mask() -> None:
    images = torch.rand(3, 20, 22)
    centers = torch.tensor([[9.1, 10.2], [8.3, 11.4], [10.5, 9.6]])
    masks = torch.rand(3, 20, 22) > 0.2
    together, weights = ops.polar_resample(images, 6, 12, center=centers, mask=masks, return_weight=True)
    for n in range(3):
        alone, weight = ops.polar_resample(images[n], 6, 12, center=centers[n], mask=masks[n], return_weight=True)
        assert torch.equal(together[n], alone)
        assert torch.equal(weights[n], weight)


def test_nearest_takes_the_nearest_pixel() -> None:
    image = torch.rand(19, 23, dtype=torch.float64)
    y, x = coordinates((19, 23), 8, 33, (9.13, 11.31), 0.5, 9.0)
    found = ops.polar_resample(image, 8, 33, center=(9.13, 11.31), r_min=0.5, r_max=9.0, interpolation="nearest")
    expected = image.numpy()[np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)]
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_backward_is_the_adjoint(interpolation: str) -> None:
    images = torch.rand(4, 30, 34, dtype=torch.float64, requires_grad=True)
    good = torch.rand(30, 34) > 0.15
    unwrapped = ops.polar_resample(images, 12, 40, mask=good, interpolation=interpolation)  # type: ignore[call-overload]
    cotangent = torch.randn_like(unwrapped)
    (adjoint,) = torch.autograd.grad(unwrapped, images, cotangent)
    inner_map = (unwrapped * cotangent).sum()
    inner_image = (images * adjoint).sum()
    torch.testing.assert_close(inner_map, inner_image, rtol=1e-13, atol=0)
    assert torch.all(adjoint[:, ~good] == 0)


def test_the_centre_is_found_by_gradient_descent() -> None:
    y, x = torch.meshgrid(*2 * [torch.arange(64, dtype=torch.float64)], indexing="ij")
    true = torch.tensor([30.2, 33.1], dtype=torch.float64)
    image = torch.cos(0.25 * ((y - true[0]) ** 2 + (x - true[1]) ** 2).sqrt())
    center = torch.tensor([31.5, 31.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([center], line_search_fn="strong_wolfe", max_iter=40)

    def closure() -> Tensor:
        optimizer.zero_grad()
        rings = ops.polar_resample(image, 24, 90, center=center, r_min=2, r_max=25)
        loss = rings.var(dim=-1).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(center.detach(), true, rtol=0, atol=0.05)


def test_second_derivative_of_the_centre_raises() -> None:
    center = torch.tensor([4.3, 4.6], dtype=torch.float64, requires_grad=True)
    value = ops.polar_resample(torch.rand(9, 9, dtype=torch.float64), 3, 8, center=center).square().sum()
    (gradient,) = torch.autograd.grad(value, center, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative with respect to center"):
        gradient.sum().backward()


def test_uint16_counts_are_exact() -> None:
    image = torch.tensor([[0, 65535], [40000, 12345]], dtype=torch.uint16)
    found = ops.polar_resample(image, 1, 4, center=(0.0, 0.0), r_min=0.0)
    assert found.tolist() == [[0.0] * 4]
    found = ops.polar_resample(image, 1, 4, center=(0.0, 1.0), r_min=0.0)
    assert found.tolist() == [[65535.0] * 4]


def test_default_radius_is_the_largest_circle_inside() -> None:
    _, weight = ops.polar_resample(torch.rand(50, 64), 20, 90, return_weight=True)
    assert torch.all(weight == 1)
    _, weight = ops.polar_resample(torch.ones(50, 64), 20, 90, r_max=26.0, return_weight=True)
    assert torch.any(weight == 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_radial": 0}, ValueError, "n_radial must be at least 1, got 0"),
        ({"n_angular": 2.0}, TypeError, "n_angular must be an int, got float"),
        ({"center": (1.0, 2.0, 3.0)}, ValueError, r"center must be \(y, x\)"),
        ({"center": np.zeros((2, 2))}, ValueError, r"center must be \(y, x\) or a tensor"),
        ({"center": torch.zeros(4, 2)}, ValueError, r"center must have shape \(2,\) or \(3, 2\)"),
        ({"mask": torch.ones(8, 9, dtype=torch.bool)}, ValueError, r"mask must have shape \(8, 8\) or \(3, 8, 8\)"),
        ({"mask": torch.ones(8, 8)}, TypeError, r"mask \(True = good pixel\) has dtype float32; expected bool"),
        ({"r_min": 3.0, "r_max": 2.0}, ValueError, "0 <= r_min <= r_max"),
        ({"r_max": math.inf}, ValueError, "r_max < inf"),
        ({"interpolation": "cubic"}, ValueError, "interpolation must be"),
        ({"images": torch.ones(8)}, ValueError, r"images must have shape \(..., height, width\)"),
        ({"images": torch.ones(3, 8, 0)}, ValueError, "no pixels"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    call: dict[str, object] = {"images": torch.ones(3, 8, 8), "n_radial": 4, "n_angular": 8} | arguments
    with pytest.raises(error, match=message):
        ops.polar_resample(**call)  # type: ignore[call-overload]


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def test_seven_published_helium_pairs(shared_data: Path) -> None:
    """The detector view of each pair, unwrapped, is the published unwrapped view (C2's crop: SCIENCE.md)."""
    with np.load(shared_data / "helium_examples.npz") as pairs:
        detector, published = torch.from_numpy(pairs["detector"]), torch.from_numpy(pairs["unwrapped"])
    # The published detector view is rows and columns 167:-167 of 1035 pixels, shown with 88; the unwrapped one has
    # angle down and radius to the right, 1035 of each, cut to rows 167:-167 and columns 310:-24.
    pixel = 87 / 700
    radius = torch.tensor([310.0, 1035 - 25]) / 1034 * 517 * pixel
    unwrapped, weight = ops.polar_resample(
        detector, 88, 1034, r_min=float(radius[0]), r_max=float(radius[1]), return_weight=True
    )
    bins = torch.linspace(167, 1034 - 166, 89).round().int().tolist()
    ours = torch.stack([unwrapped[..., a:b].mean(-1) for a, b in itertools.pairwise(bins)], dim=1)
    seen = torch.stack([(weight[..., a:b] == 1).all(-1) for a, b in itertools.pairwise(bins)], dim=1)
    # The cropped view lacks the corners of the largest radii, and the hole is blurred in the published one.
    seen &= ours > 0
    assert seen.float().mean() > 0.6
    for n in range(len(published)):
        assert correlation(ours[n][seen[n]], published[n][seen[n]]) >= 0.9
        # Turning the other way, or taking radius for angle, does not fit: the test can tell.
        mirrored = published[n].flip(0)
        assert correlation(ours[n][seen[n]], mirrored[seen[n]]) < correlation(ours[n][seen[n]], published[n][seen[n]])
        assert correlation(ours[n][seen[n]], published[n].T[seen[n]]) < 0.5


def test_numpy_integers_and_arrays_serve_as_sizes_and_centre() -> None:
    image = torch.rand(9, 9)
    found = ops.polar_resample(image, np.int64(3), np.int32(8), center=np.array([4.0, 4.0]))  # type: ignore[call-overload]
    assert torch.equal(found, ops.polar_resample(image, 3, 8))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int32, torch.float16, torch.bfloat16, torch.float32]
)
@pytest.mark.parametrize("masked", [False, True])
def test_an_image_of_a_batch_gets_the_very_bits_that_it_gets_alone(dtype: torch.dtype, masked: bool) -> None:
    """A batch's gradient is gathered with one image a lane; that of a few images is not."""
    images = (torch.rand(37, 25, 22) * 200).to(dtype)
    mask = torch.rand(25, 22) > 0.2 if masked else None
    options: dict[str, Any] = {"mask": mask, "r_max": 13.0, "fill": -3.0}
    whole = ops.polar_resample(images, 16, 37, **options)
    assert torch.equal(whole, torch.cat([ops.polar_resample(image[None], 16, 37, **options) for image in images]))
    if not dtype.is_floating_point:
        return
    cotangent = torch.randn_like(whole)

    def gradient(some: slice) -> Tensor:
        part = images[some].clone().requires_grad_()
        out = ops.polar_resample(part, 16, 37, **options)
        return torch.autograd.grad(out, part, cotangent[some])[0]

    alone = torch.cat([gradient(slice(n, n + 1)) for n in range(len(images))])
    assert torch.equal(gradient(slice(None)), alone)


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_shared_geometry_gives_the_very_bits_of_one_for_each_image(dtype: torch.dtype, masked: bool) -> None:
    check_tiles(dtype, masked=masked)


def test_results_stored_past_the_caches() -> None:
    """More than 32 MiB read and written; rows that are whole cache lines, and rows that are not."""
    images = torch.rand(9, 1024, 1024)
    for columns in (96, 50):
        whole = ops.polar_resample(images, 64, columns)
        assert torch.equal(whole, torch.stack([ops.polar_resample(image, 64, columns) for image in images]))


def test_the_kept_centre_serves_every_mode() -> None:
    """First made where nothing else could use it: under inference mode, and while torch only traces shapes."""
    images = torch.rand(2, 17, 17)
    center = (7.25, 9.125)
    exact = ops.polar_resample(images, 4, 6, center=torch.tensor(center, dtype=torch.float64))
    for mode in (torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True)):
        with mode:
            ops.polar_resample(images, 4, 6, center=center)
        tracked = images.clone().requires_grad_()
        found = ops.polar_resample(tracked, 4, 6, center=center)
        assert torch.equal(found, exact)
        found.sum().backward()
        center = (center[0] + 0.5, center[1])
        exact = ops.polar_resample(images, 4, 6, center=torch.tensor(center, dtype=torch.float64))
