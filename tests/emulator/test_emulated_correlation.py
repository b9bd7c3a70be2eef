"""The correlation maps' CUDA kernels, launchers and registration, run by the emulator."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import Configure
from emulator_build import PASS_BYTES
from torch import Tensor

from cdifast import reference

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
IMAGE_DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.int32, *DTYPES]
# Those of tests/ops/test_contract.py: relative error (norm) against the float64 reference of the same, rounded input.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float32: 2e-6, torch.float64: 1e-13}
NORMALIZE = ["none", "mean", "pearson"]
FILL, MIN_WEIGHT = -3.0, 0.2
OPS = torch.ops.cdifast_emulator


def names(value: Any) -> str:
    return str(value).removeprefix("torch.")


every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=names)
every_normalization = pytest.mark.parametrize("normalize", NORMALIZE)
every_part = pytest.mark.parametrize("part", ["real", "abs"])


def relative_error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()  # in particular, no element was left as it was allocated
    scale = float(expected.double().norm())
    return float((found.double() - expected.double()).norm()) / (scale or 1.0)


def unwrapped_maps(count: int, n_radial: int, n_angular: int, dtype: torch.dtype) -> Tensor:
    """Rings of different brightness, with structure of a few orders."""
    phi = torch.arange(n_angular, dtype=torch.float64) * (2 * math.pi / n_angular)
    turn = torch.rand(count, n_radial, 1, dtype=torch.float64)
    waves = 1.5 + torch.cos(3 * phi + turn) + 0.3 * torch.rand(count, n_radial, n_angular, dtype=torch.float64)
    return (waves * (0.5 + turn)).to(dtype)


def weights(count: int, n_radial: int, n_angular: int) -> Tensor:
    """Eighths, exact in every sum; ring 1 wholly masked, ring 2 with less than the least weight, two rings apart."""
    w = torch.randint(0, 9, (count, n_radial, n_angular), dtype=torch.float64) / 8
    w[:, 1] = 0
    w[:, 2] = 0
    w[:, 2, 0] = 1
    w[:, 3, : n_angular // 2] = 0
    w[:, 4, n_angular // 2 :] = 0
    return w


def weights_for(kind: str, unwrapped: Tensor) -> Tensor | None:
    if kind == "none":
        return None
    count, n_radial, n_angular = unwrapped.shape
    return weights(1 if kind == "shared" else count, n_radial, n_angular)


def spoil(unwrapped: Tensor, weight: Tensor | None) -> Tensor:
    """NaN where it must not be looked at."""
    return unwrapped if weight is None else torch.where(weight > 0, unwrapped, math.nan)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def emulated(
    unwrapped: Tensor,
    weight: Tensor | None = None,
    *,
    order: int = 3,
    part: str = "real",
    normalize: str = "none",
    fill: float = FILL,
    min_weight: float = MIN_WEIGHT,
) -> Tensor:
    return OPS.correlation_map(unwrapped, weight, order, part == "abs", NORMALIZE.index(normalize), fill, min_weight)


def expected_map(unwrapped: Tensor, weight: Tensor | None = None, **options: Any) -> Tensor:
    options = {"order": 3, "fill": FILL, "min_weight": MIN_WEIGHT} | options
    return reference.correlation_map(unwrapped.double(), weight=weight, **options)[0]


@every_dtype
@every_normalization
@every_part
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
def test_equals_the_float64_reference(
    configure: Configure, dtype: torch.dtype, normalize: str, part: str, kind: str
) -> None:
    unwrapped = unwrapped_maps(2, 6, 17, dtype)
    weight = weights_for(kind, unwrapped)
    expected = expected_map(unwrapped, weight, part=part, normalize=normalize)
    stored = None if weight is None else weight.to(compute_dtype(dtype))
    found = emulated(spoil(unwrapped, weight), stored, part=part, normalize=normalize)
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    assert torch.equal(found == FILL, expected == FILL)
    assert relative_error(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=names)
@pytest.mark.parametrize("tiles", ["one ring", "one tile", "three and a rest"])
def test_tiles_of_any_number_of_rings(configure: Configure, dtype: torch.dtype, tiles: str) -> None:
    """In several passes; an angle more than chunks hold."""
    whole = 128 if dtype == torch.float32 else 64  # csrc/cuda/microtile.cuh
    n_radial = {"one ring": 1, "one tile": whole, "three and a rest": whole + 6}[tiles]
    unwrapped = unwrapped_maps(2, n_radial, 33, dtype)
    for kind in ("none", "own") if n_radial > 4 else ("none",):
        weight = weights_for(kind, unwrapped)
        stored = None if weight is None else weight.to(dtype)
        expected = expected_map(unwrapped, weight, normalize="pearson")
        found = emulated(spoil(unwrapped, weight), stored, normalize="pearson")
        assert torch.equal(found == FILL, expected == FILL)
        assert relative_error(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("n_radial", [1, 20, 134])
def test_cards_without_fast_tensor_cores_have_the_same_maps(configure: Configure, n_radial: int) -> None:
    unwrapped = unwrapped_maps(2, n_radial, 36, torch.float32)
    by_tensor_cores = emulated(unwrapped, None, normalize="pearson")
    configure(compute_capability=86)
    # Summed in another order: it is another kernel.
    assert n_radial == 1 or not torch.equal(emulated(unwrapped, None, normalize="pearson"), by_tensor_cores)
    for dtype in (torch.float32, torch.float16):
        unwrapped = unwrapped_maps(2, n_radial, 36, dtype)
        for kind in ("none", "own"):
            weight = weights_for(kind, unwrapped) if n_radial > 4 else None
            stored = None if weight is None else weight.float()
            expected = expected_map(unwrapped, weight, normalize="pearson")
            found = emulated(spoil(unwrapped, weight), stored, normalize="pearson")
            assert torch.equal(found == FILL, expected == FILL)
            assert relative_error(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("n_angular", [256, 257, 737])
def test_rings_of_any_length(configure: Configure, n_angular: int) -> None:
    """Those that a warp's registers hold, 8 or 23 samples a lane, and those that they do not."""
    unwrapped = unwrapped_maps(1, 6, n_angular, torch.float32)
    for kind in ("none", "own"):
        weight = weights_for(kind, unwrapped)
        stored = None if weight is None else weight.float()
        expected = expected_map(unwrapped, weight, normalize="pearson")
        assert relative_error(emulated(spoil(unwrapped, weight), stored, normalize="pearson"), expected) < 2e-6


def test_as_many_passes_as_it_takes(configure: Configure) -> None:
    # A ring takes 8 numbers of the workspace, and with weights of its own R for its pairs.
    n_radial = 20
    a_map = n_radial * (8 + n_radial) * 4
    unwrapped = unwrapped_maps(2 * (PASS_BYTES // a_map) + 1, n_radial, 8, torch.float32)
    weight = weights(len(unwrapped), n_radial, 8)
    found, expected = emulated(unwrapped, weight.float()), expected_map(unwrapped, weight)
    assert len(unwrapped) > 10
    assert torch.equal(found == FILL, expected == FILL)
    assert relative_error(found, expected) < 2e-6


@pytest.mark.parametrize("dtype", DTYPES, ids=names)
def test_weight_of_every_cell(configure: Configure, dtype: torch.dtype) -> None:
    for n_radial in (6, 66):
        weight = weights(2, n_radial, 19)
        _, expected = reference.correlation_map(torch.zeros_like(weight), weight=weight, min_weight=MIN_WEIGHT)
        found = OPS.correlation_weight(weight.to(dtype), MIN_WEIGHT)
        assert found.dtype == compute_dtype(dtype)
        assert torch.equal(found == 0, expected == 0)
        assert relative_error(found, expected) < TOLERANCE[found.dtype]


def test_bright_rings_with_weak_structure(configure: Configure) -> None:
    """The bound of tests/ops/test_correlation.py, and with a pixel that is brighter still."""
    rings = 1e4 + torch.rand(1, 7, 224)
    outlier = rings.clone()
    outlier[:, :, 0] = 1e6
    weight = torch.ones(1, 7, 224, dtype=torch.float64)
    weight[:, :, 0] = 0
    for weighted in (None, weight):
        stored = None if weighted is None else weighted.float()
        exact = expected_map(outlier if stored is not None else rings, weighted, normalize="pearson")
        found = emulated(outlier if stored is not None else rings, stored, normalize="pearson")
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)
        assert relative_error(found, exact) < 2e-6
    exact, found = (f(outlier, normalize="pearson") for f in (expected_map, emulated))
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30], ids=["tiny", "huge"])
@pytest.mark.parametrize("normalize", ["mean", "pearson"])
def test_intensities_in_any_unit(configure: Configure, size: float, normalize: str) -> None:
    """Their squares are no floats, but the normalised map is, and so is its gradient times the unit."""
    unwrapped = (unwrapped_maps(1, 5, 16, torch.float64) * size).float()
    assert relative_error(emulated(unwrapped, normalize=normalize), expected_map(unwrapped, normalize=normalize)) < 2e-6
    grad = torch.rand(1, 5, 5)
    found, expected = gradients(grad, unwrapped, None, "real", normalize)
    assert relative_error(found.double() * size, expected * size) < 2e-5


def test_rings_without_a_mean_or_spread_give_fill(configure: Configure) -> None:
    rings = torch.rand(1, 4, 16)
    rings[:, 1] = 0.0
    rings[:, 2] = 0.7
    for normalize, missing in (("mean", [1]), ("pearson", [1, 2])):
        found = emulated(rings, normalize=normalize)
        expected = torch.zeros(1, 4, 4, dtype=torch.bool)
        expected[:, missing] = expected[:, :, missing] = True
        assert torch.equal(found == FILL, expected)
        grad = OPS.correlation_map_backward(
            torch.ones(1, 4, 4), rings, None, 3, False, NORMALIZE.index(normalize), MIN_WEIGHT
        )
        assert torch.all(grad[:, missing] == 0)
        assert grad.isfinite().all()


def test_nan_of_a_valid_sample_is_seen_in_its_cells(configure: Configure) -> None:
    rings = torch.rand(1, 5, 16)
    rings[0, 2, 3] = math.nan
    for normalize in NORMALIZE:
        found = emulated(rings, normalize=normalize)[0].isnan()
        expected = torch.zeros(5, 5, dtype=torch.bool)
        expected[2] = expected[:, 2] = True
        assert torch.equal(found, expected), normalize


def gradients(
    grad: Tensor, unwrapped: Tensor, weight: Tensor | None, part: str, normalize: str
) -> tuple[Tensor, Tensor]:
    exact = unwrapped.double().clone().requires_grad_()
    value = reference.correlation_map(
        exact, weight=weight, order=3, part=part, normalize=normalize, min_weight=MIN_WEIGHT
    )[0]
    (expected,) = torch.autograd.grad(value, exact, grad.double())
    stored = None if weight is None else weight.to(compute_dtype(unwrapped.dtype))
    found = OPS.correlation_map_backward(
        grad, spoil(unwrapped, weight), stored, 3, part == "abs", NORMALIZE.index(normalize), MIN_WEIGHT
    )
    assert found.dtype == unwrapped.dtype
    return found, expected


@every_dtype
@every_normalization
@every_part
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
def test_gradient_is_that_of_the_reference(
    configure: Configure, dtype: torch.dtype, normalize: str, part: str, kind: str
) -> None:
    unwrapped = unwrapped_maps(2, 6, 17, dtype)
    grad = torch.randn(2, 6, 6, dtype=torch.float64).to(dtype)
    weight = weights_for(kind, unwrapped)
    for compute_capability in (86, 90):  # without and with fast tensor cores
        configure(compute_capability=compute_capability)
        found, expected = gradients(grad, unwrapped, weight, part, normalize)
        # A normalised map's gradient is what is left of larger terms: it has no part along the ring itself.
        assert relative_error(found, expected) < TOLERANCE[dtype] * (1 if normalize == "none" else 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=names)
def test_gradient_over_tiles(configure: Configure, dtype: torch.dtype) -> None:
    unwrapped = unwrapped_maps(2, 70, 67, dtype)
    grad = torch.randn(2, 70, 70, dtype=dtype)
    for kind, normalize in (("none", "none"), ("own", "pearson")):
        found, expected = gradients(grad, unwrapped, weights_for(kind, unwrapped), "real", normalize)
        assert relative_error(found, expected) < 5 * TOLERANCE[dtype]


def gradient(grad: Tensor, unwrapped: Tensor, weight: Tensor | None = None, normalize: str = "none") -> Tensor:
    stored = None if weight is None else weight.to(compute_dtype(unwrapped.dtype))
    return OPS.correlation_map_backward(grad, unwrapped, stored, 3, False, NORMALIZE.index(normalize), MIN_WEIGHT)


@pytest.mark.parametrize("compute_capability", [90, 86])
@pytest.mark.parametrize(("n_radial", "n_angular"), [(1, 8), (5, 16), (16, 21), (50, 36), (66, 134), (130, 18)])
def test_gradient_with_and_without_fast_tensor_cores(
    configure: Configure, compute_capability: int, n_radial: int, n_angular: int
) -> None:
    """Sizes that are no multiples of tiles, nor of groups in them; rings that are whole quads, and others."""
    configure(compute_capability=compute_capability)
    cases = [(torch.float32, "none", "none"), (torch.float32, "shared", "mean"), (torch.float32, "own", "pearson")]
    cases += [(torch.float16, "own", "pearson"), (torch.bfloat16, "shared", "none")]
    for dtype, kind, normalize in cases if n_radial > 4 else cases[:1]:
        unwrapped = unwrapped_maps(2, n_radial, n_angular, dtype)
        grad = torch.randn(2, n_radial, n_radial, dtype=torch.float64).to(dtype)
        found, expected = gradients(grad, unwrapped, weights_for(kind, unwrapped), "real", normalize)
        assert relative_error(found, expected) < TOLERANCE[dtype] * (1 if normalize == "none" else 5)


@pytest.mark.same_accesses
@pytest.mark.parametrize("n_radial", [20, 70])
def test_gradient_is_as_exact_with_fast_tensor_cores(configure: Configure, n_radial: int) -> None:
    """Of the product alone, whose terms cancel: rings whose samples and gradients have either sign."""
    unwrapped = torch.randn(2, n_radial, 36)
    grad = torch.randn(2, n_radial, n_radial)
    errors, results = [], []
    for compute_capability in (90, 86):
        configure(compute_capability=compute_capability)
        found, expected = gradients(grad, unwrapped, None, "real", "none")
        errors.append(relative_error(found, expected))
        results.append(found)
    assert not torch.equal(*results)  # summed in another order: it is another kernel
    assert errors[0] < 1.5 * errors[1]


@pytest.mark.same_accesses
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["none", "own"])
def test_gradient_without_a_number_is_seen_where_it_was(configure: Configure, value: float, kind: str) -> None:
    """A sample's and a gradient's, in rings that count and in those that do not: the same of both kernels."""
    unwrapped = unwrapped_maps(1, 40, 20, torch.float32)
    grad = torch.randn(1, 40, 40)
    weight = weights_for(kind, unwrapped)
    unusable = (0, 1, 7) if kind == "own" else None  # ring 1 is masked
    sample, cell, upper, masked = unwrapped.clone(), grad.clone(), grad.clone(), grad.clone()
    sample[0, 17, 3] = cell[0, 35, 6] = upper[0, 6, 35] = value
    if unusable is not None:
        weight[0, 17, 3] = 1
        masked[unusable] = masked[0, 7, 1] = value
    for normalize in NORMALIZE:
        kernels = []
        for compute_capability in (90, 86):
            configure(compute_capability=compute_capability)
            kernels.append(
                [
                    gradient(grad, sample, weight, normalize),
                    gradient(cell, unwrapped, weight, normalize),
                    gradient(upper, unwrapped, weight, normalize),
                    gradient(masked, unwrapped, weight, normalize),
                ]
            )
        for found, before in zip(*kernels, strict=True):
            assert torch.equal(found.isfinite(), before.isfinite())
        by_sample, by_cell, by_upper, by_masked = kernels[0]
        assert not by_sample.isfinite().all()
        for found in (by_cell, by_upper):
            missing = ~found[0].isfinite().all(-1)
            assert missing[[6, 35]].all()
            assert missing.sum() == 2
        assert by_masked.isfinite().all()


# --- the fused operator


def detector_images(count: int, dtype: torch.dtype) -> Tensor:
    images = 10 + 100 * torch.rand(count, 21, 23, dtype=torch.float64)
    return images.to(dtype)


def polar_case(kind: str, count: int) -> tuple[Tensor, Tensor | None]:
    """Centre and mask."""
    center = torch.tensor([[9.6, 11.3]], dtype=torch.float64)
    if "centers" in kind:
        center = center + torch.rand(count, 2, dtype=torch.float64)
    good = None
    if "mask" in kind:
        good = torch.rand(count if "masks" in kind else 1, 21, 23) > 0.15
    return center, good


def polar_maps(
    images: Tensor, center: Tensor, good: Tensor | None, nearest: bool = False, **options: Any
) -> tuple[Tensor, Tensor]:
    """The fused operator's maps, and those of the two references, of 7 rings and 24 angles."""
    normalize, part = options.get("normalize", "none"), options.get("part", "real")
    found = OPS.polar_correlation_map(
        images, center, good, 7, 24, 2.0, 11.5, nearest, 3, part == "abs", NORMALIZE.index(normalize), FILL, MIN_WEIGHT
    )
    values, weight = reference.polar_resample(
        images.double(),
        7,
        24,
        center=center.expand(images.shape[0], 2),
        r_min=2.0,
        r_max=11.5,
        mask=None if good is None else good.expand(images.shape),
        interpolation="nearest" if nearest else "bilinear",
    )
    return found, expected_map(values, weight, **options)


@pytest.mark.parametrize("dtype", IMAGE_DTYPES, ids=names)
@pytest.mark.parametrize("kind", ["shared", "mask", "centers", "masks", "centers, mask", "centers, masks"])
def test_fused_map_is_that_of_the_unwrapped_image(configure: Configure, dtype: torch.dtype, kind: str) -> None:
    images = detector_images(2, dtype)
    center, good = polar_case(kind, 2)
    if good is not None and dtype.is_floating_point:
        images = torch.where(good, images, math.nan)
    found, expected = polar_maps(images, center, good, normalize="pearson" if "mask" in kind else "none")
    assert found.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert torch.equal(found == FILL, expected == FILL)
    assert relative_error(found, expected) < TOLERANCE[found.dtype]


def test_fused_map_of_nearest_pixels(configure: Configure) -> None:
    found, expected = polar_maps(detector_images(2, torch.int16), *polar_case("mask", 2), nearest=True, part="abs")
    assert relative_error(found, expected) < 2e-6


@pytest.mark.parametrize("kind", ["shared", "centers, masks"])
def test_fused_map_of_many_images(configure: Configure, kind: str) -> None:
    """More than a thread samples at a time, and than fit into a pass."""
    found, expected = polar_maps(detector_images(45, torch.float32), *polar_case(kind, 45))
    assert relative_error(found, expected) < 2e-6


def test_fused_map_writes_into_a_given_tensor(configure: Configure) -> None:
    images = detector_images(2, torch.uint16)
    center, _ = polar_case("centers", 2)
    options = (24, 2.0, 11.5, False, 3, False, 0, FILL, MIN_WEIGHT)
    expected = OPS.polar_correlation_map(images, center, None, 7, *options)
    out = torch.empty(2, 7, 7)
    assert OPS.polar_correlation_map_out(images, center, None, *options, out) is None
    assert torch.equal(out, expected)


# --- what holds for all


@pytest.mark.same_accesses
@every_dtype
def test_bit_for_bit_the_same_in_any_order_of_threads_and_whatever_shared_memory_held(
    configure: Configure, dtype: torch.dtype
) -> None:
    unwrapped = unwrapped_maps(1, 66, 18, dtype)
    weight = weights(1, 66, 18).to(compute_dtype(dtype))
    grad = torch.randn(1, 66, 66, dtype=torch.float64).to(dtype)
    images, (center, good) = detector_images(2, dtype), polar_case("mask", 2)
    results = []
    for schedule, poison in ((0, 0xFF), (1, 0x00), (3, 0x7F)):
        configure(schedule, poison)
        results.append(
            (
                emulated(unwrapped, weight, normalize="pearson"),
                OPS.correlation_map_backward(grad, unwrapped, weight, 3, True, 2, MIN_WEIGHT),
                OPS.correlation_weight(weight, MIN_WEIGHT),
                OPS.polar_correlation_map(images, center, good, 7, 24, 2.0, 11.5, False, 3, False, 1, FILL, MIN_WEIGHT),
            )
        )
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nothing_to_do(configure: Configure) -> None:
    for shape in ((0, 5, 16), (2, 0, 16)):
        unwrapped = torch.empty(shape)
        maps = emulated(unwrapped, torch.ones(1, *shape[1:]))
        assert maps.shape == (shape[0], shape[1], shape[1])
        assert OPS.correlation_map_backward(maps, unwrapped, None, 3, False, 0, 0.05).shape == shape
        assert OPS.correlation_weight(unwrapped, 0.05).shape == maps.shape
    center = torch.zeros(0, 2, dtype=torch.float64)
    fused = OPS.polar_correlation_map(torch.empty(0, 9, 9), center, None, 4, 8, 0.0, 3.0, False, 1, False, 0, 0.0, 0.05)
    assert fused.shape == (0, 4, 4)


def test_any_memory_layout(configure: Configure) -> None:
    unwrapped = unwrapped_maps(2, 5, 12, torch.float32)
    weight = weights(2, 5, 12).float()
    grad = torch.randn(2, 5, 5)
    expected = emulated(unwrapped, weight)
    gradient = OPS.correlation_map_backward(grad, unwrapped, weight, 3, False, 0, MIN_WEIGHT)

    def strided(x: Tensor) -> Tensor:
        return torch.stack((x, x.new_zeros(x.shape)), -1)[..., 0]

    for move in (lambda x: x.mT.contiguous().mT, strided):
        assert torch.equal(emulated(move(unwrapped), move(weight)), expected)
        found = OPS.correlation_map_backward(move(grad), move(unwrapped), move(weight), 3, False, 0, MIN_WEIGHT)
        assert torch.equal(found, gradient)
    # One element into its memory, where nothing is aligned.
    storage = torch.cat((torch.zeros(1), unwrapped.flatten()))
    assert torch.equal(emulated(storage[1:].view(unwrapped.shape), weight), expected)


def test_writes_into_a_given_tensor(configure: Configure) -> None:
    unwrapped = unwrapped_maps(2, 5, 16, torch.float16)
    out = torch.full((2, 5, 5), math.nan, dtype=torch.float16)
    options = (None, 3, False, 0, FILL, MIN_WEIGHT)
    assert OPS.correlation_map_out(unwrapped, *options, out) is None
    assert torch.equal(out, OPS.correlation_map(unwrapped, *options))
    for wrong, message in (
        (torch.empty(2, 5, 5), "out has dtype Float; expected Half"),
        (torch.empty(2, 5, 4, dtype=torch.float16), r"out must have shape \(2, 5, 5\)"),
        (torch.empty(2, 5, 5, dtype=torch.float16).mT, "out must be contiguous"),
    ):
        with pytest.raises(RuntimeError, match=f"correlation_map: {message}"):
            OPS.correlation_map_out(unwrapped, *options, wrong)


def test_refuses_what_the_gpu_would_refuse(configure: Configure) -> None:
    rings, center = torch.rand(2, 4, 16), torch.zeros(1, 2, dtype=torch.float64)

    def polar(images: Tensor, center: Tensor, good: Tensor | None = None, n_radial: int = 4) -> Tensor:
        return OPS.polar_correlation_map(images, center, good, n_radial, 16, 0.0, 3.0, False, 3, False, 0, 0.0, 0.05)

    for call, message in (
        (lambda: emulated(rings[0]), r"unwrapped must have shape \(N, n_radial, n_angular\), got 2 dimensions"),
        (lambda: emulated(rings.int()), "unwrapped has dtype Int; expected float16"),
        (lambda: emulated(rings, order=9), "order 9 is not between 1 and n_angular / 2 = 8"),
        (lambda: emulated(rings, torch.rand(3, 4, 16)), r"weight must have shape \(1 or N, n_radial, n_angular\)"),
        (lambda: emulated(rings, torch.ones(1, 4, 16).int()), "weight has dtype Int; expected float16"),
        (
            lambda: OPS.correlation_map(rings, None, 3, False, 3, 0.0, 0.05),
            r"normalize must be 0 \(none\), 1 \(mean\) or 2 \(pearson\), got 3",
        ),
        (
            lambda: OPS.correlation_map_backward(torch.rand(2, 4, 5), rings, None, 3, False, 0, 0.05),
            r"correlation_map_backward: grad must have shape \(N, n_radial, n_radial\)",
        ),
        (
            lambda: OPS.correlation_map_backward(torch.rand(2, 4, 4).double(), rings, None, 3, False, 0, 0.05),
            "grad and unwrapped differ in dtype",
        ),
        (lambda: OPS.correlation_weight(rings[0], 0.05), "correlation_weight: weight must have shape"),
        (
            lambda: polar(rings[0], center),
            "polar_correlation_map: images must have 3 dimensions, the first its batch; got 2",
        ),
        (lambda: polar(rings.bool(), center), "images has dtype Bool; expected uint8"),
        (lambda: polar(rings, center.float()), "center must be float64"),
        (lambda: polar(rings, center[0]), r"center must have shape \(1 or N, 2\)"),
        (lambda: polar(rings, center.expand(3, 2)), "center or good is for 3 images, but there are 2"),
        (lambda: polar(rings, center, torch.ones(1, 4, 16)), "good must be bool"),
        (lambda: polar(rings, center, torch.ones(1, 4, 4) > 0), r"good must have shape \(1 or N, 4, 16\)"),
        (lambda: polar(rings, center, None, 0), "n_radial and n_angular must be at least 1, got 0 and 16"),
        (lambda: polar(rings[:, :0], center), "height and width must be at least 1, got 0 and 16"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
