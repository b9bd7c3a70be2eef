"""The CUDA kernels, launchers and registration of angular harmonics, run by the emulator."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import Configure
from torch import Tensor

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Those of tests/ops/test_contract.py. Half types give float32, of the same, rounded input.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
OPS = torch.ops.cdifast_emulator


def names(value: Any) -> str:
    return str(value).removeprefix("torch.")


every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=names)
every_precision = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=names)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def relative_error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()  # in particular, no element was left as it was allocated
    scale = float(expected.double().norm())
    return float((found.double() - expected.double()).norm()) / (scale or 1.0)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64).to(dtype)


def weights(*shape: int) -> Tensor:
    """Eighths, exact in every sum; ring 1 wholly masked."""
    w = torch.randint(0, 9, shape, dtype=torch.float64) / 8
    w[:, 1] = 0
    return w


def by_fourier_transform(unwrapped: Tensor, weight: Tensor | None, orders: Tensor) -> Tensor:
    """From the whole transform, in float64: (N, O, R, 2)."""
    n_angular = unwrapped.shape[2]
    w = torch.ones_like(unwrapped) if weight is None else weight.expand_as(unwrapped)
    values = torch.where(w > 0, unwrapped, 0)
    total = w.sum(-1)
    safe = torch.where(total > 0, total, 1)
    mean = (w * values).sum(-1) / safe
    spectrum = torch.fft.fft(w * (values - mean[..., None]), dim=-1) / safe[..., None]
    rows = [mean + 0j if n == 0 else spectrum[..., n % n_angular] for n in orders.tolist()]
    return torch.view_as_real(torch.stack(rows, 1) if rows else spectrum[:, :0].mT.reshape(len(mean), 0, mean.shape[1]))


@every_dtype
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize("n_angular", [17, 24])
def test_harmonics_are_those_of_the_fourier_transform(
    configure: Configure, dtype: torch.dtype, kind: str, n_angular: int
) -> None:
    unwrapped = random(2, 5, n_angular, dtype=dtype)
    weight = None if kind == "none" else weights(1 if kind == "shared" else 2, 5, n_angular)
    stored = None if weight is None else weight.to(compute_dtype(dtype))
    spoiled = unwrapped if weight is None else torch.where(weight > 0, unwrapped, math.nan)
    half = n_angular // 2
    for orders in (torch.tensor([3]), torch.tensor([0, 1, -1, half, 2, -half, 2]), torch.arange(-half, half + 1)):
        found = OPS.angular_harmonics(spoiled, stored, orders)
        expected = by_fourier_transform(unwrapped.double(), weight, orders)
        assert (found.dtype, found.shape) == (compute_dtype(dtype), (2, len(orders), 5, 2))
        assert relative_error(found, expected) < TOLERANCE[found.dtype]
        if weight is not None:
            assert torch.all(found[:, :, 1] == 0)


def test_negative_orders_are_conjugates_and_the_mean_is_real(configure: Configure) -> None:
    orders = torch.tensor([4, -4, 0])
    found = OPS.angular_harmonics(random(1, 3, 30, dtype=torch.float32), None, orders)
    assert torch.equal(found[:, 0, :, 0], found[:, 1, :, 0])
    assert torch.equal(found[:, 0, :, 1], -found[:, 1, :, 1])
    assert torch.all(found[:, 2, :, 1] == 0)


@every_precision
def test_tiles_of_any_number_of_rings(configure: Configure, dtype: torch.dtype) -> None:
    # Rings in whole quads and not, short and long, in double few orders and many: a kernel, or a way through it, each.
    for n_radial, n_angular, orders in (
        (67, 35, torch.arange(8)),
        (70, 35, torch.arange(-17, 18)),
        (17, 256, torch.arange(-8, 9)),
        (17, 260, torch.arange(8)),
        (64, 257, torch.arange(8)),
    ):
        unwrapped = random(2, n_radial, n_angular, dtype=dtype)
        found = OPS.angular_harmonics(unwrapped, None, orders)
        assert relative_error(found, by_fourier_transform(unwrapped.double(), None, orders)) < TOLERANCE[dtype]


def test_orders_that_are_not_there_give_nan(configure: Configure) -> None:
    orders = torch.tensor([1, 9, -9, 8])
    found = OPS.angular_harmonics(random(1, 3, 17), None, orders)
    assert torch.equal(found.isnan().all(-1).all(-1)[0], torch.tensor([False, True, True, False]))
    assert OPS.angular_harmonics_backward(found.nan_to_num(), None, orders, 17).isnan().all()


def test_phases_of_many_angles_are_exact(configure: Configure) -> None:
    """Below and above 2^16 angles, whose products with the order have 32 bits and more; a single wave has one order."""
    for n_angular in (65_535, 70_001):
        order = n_angular // 2 - 1
        phase = torch.arange(n_angular) * order % n_angular
        wave = torch.cos(phase.double() * (2 * math.pi / n_angular) - 0.3)[None, None]
        found = OPS.angular_harmonics(wave, None, torch.tensor([order, 1]))[0, :, 0]
        expected = torch.tensor([[math.cos(0.3) / 2, -math.sin(0.3) / 2], [0, 0]], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_bright_rings_with_weak_structure(configure: Configure) -> None:
    unwrapped = 1e4 + torch.rand(1, 6, 224)
    orders = torch.tensor([8, 1])
    found = OPS.angular_harmonics(unwrapped, None, orders)
    torch.testing.assert_close(
        found.double(), by_fourier_transform(unwrapped.double(), None, orders), rtol=1e-4, atol=1e-7
    )


@every_precision
@pytest.mark.parametrize("kind", ["none", "shared", "own"])
def test_backward_is_the_adjoint(configure: Configure, dtype: torch.dtype, kind: str) -> None:
    for n_radial, n_angular in ((5, 17), (66, 70)):
        orders = torch.tensor([0, 3, -3, 1, 0, n_angular // 2, 2, 5, -8, 7])
        weight = None if kind == "none" else weights(1 if kind == "shared" else 2, n_radial, n_angular)
        unwrapped = random(2, n_radial, n_angular).requires_grad_()
        grad = random(2, len(orders), n_radial, 2, dtype=dtype) - 0.5
        value = by_fourier_transform(unwrapped, weight, orders)
        (expected,) = torch.autograd.grad(value, unwrapped, grad.double())
        stored = None if weight is None else weight.to(dtype)
        found = OPS.angular_harmonics_backward(grad, stored, orders, n_angular)
        assert (found.dtype, found.shape) == (dtype, unwrapped.shape)
        assert relative_error(found, expected) < TOLERANCE[dtype]
        if weight is not None:
            assert torch.all(found[weight.expand_as(found) == 0] == 0)


# --- what holds for all


def results(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    unwrapped = torch.rand(2, 66, 18, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.rand(1, 66, 18, generator=generator, dtype=torch.float64).to(dtype)
    orders = torch.tensor([2, 0, -5, 9, 1, 3, 4, 6, 7])
    harmonics = OPS.angular_harmonics(unwrapped, weight, orders)
    return [
        harmonics,
        OPS.angular_harmonics(unwrapped, None, orders[:2]),
        OPS.angular_harmonics_backward(harmonics, weight, orders, 18),
    ]


@pytest.mark.same_accesses
@every_precision
def test_bit_for_bit_the_same_in_any_order_of_threads_and_whatever_shared_memory_held(
    configure: Configure, dtype: torch.dtype
) -> None:
    before = results(dtype)
    for schedule, poison in ((1, 0x00), (3, 0x7F)):
        configure(schedule, poison)
        assert all(torch.equal(a, b) for a, b in zip(before, results(dtype), strict=True))


def test_nothing_to_do(configure: Configure) -> None:
    none, one = torch.empty(0, dtype=torch.int64), torch.tensor([1])
    for shape, orders in (((0, 4, 16), one), ((2, 0, 16), one), ((2, 4, 16), none)):
        found = OPS.angular_harmonics(torch.empty(shape), None, orders)
        assert found.shape == (shape[0], len(orders), shape[1], 2)
        assert OPS.angular_harmonics_backward(found, None, orders, 16).shape == shape
    assert torch.all(OPS.angular_harmonics_backward(torch.empty(2, 0, 4, 2), None, none, 16) == 0)


def test_any_memory_layout(configure: Configure) -> None:
    orders = torch.tensor([1, 2])
    unwrapped, weight = random(2, 5, 12, dtype=torch.float32), weights(2, 5, 12).float()
    expected = OPS.angular_harmonics(unwrapped, weight, orders)
    found = OPS.angular_harmonics(unwrapped.mT.contiguous().mT, weight.mT.contiguous().mT, orders.repeat(2)[:2])
    assert torch.equal(found, expected)
    out = torch.full_like(expected, math.nan)
    assert OPS.angular_harmonics_out(unwrapped, weight, orders, out) is None
    assert torch.equal(out, expected)


def test_refuses_what_the_gpu_would_refuse(configure: Configure) -> None:
    rings, orders = torch.rand(2, 4, 16), torch.tensor([1, 2])
    for call, message in (
        (
            lambda: OPS.angular_harmonics(rings[0], None, orders),
            r"unwrapped must have shape \(N, n_radial, n_angular\)",
        ),
        (lambda: OPS.angular_harmonics(rings.int(), None, orders), "unwrapped has dtype Int; expected float16"),
        (lambda: OPS.angular_harmonics(rings, rings[:, 1:], orders), r"weight must have shape \(1 or N"),
        (lambda: OPS.angular_harmonics(rings, None, orders.int()), "orders must be int64"),
        (lambda: OPS.angular_harmonics(rings, None, orders[0]), r"orders must have shape \(O,\)"),
        (lambda: OPS.angular_harmonics(rings[..., :0], None, orders), r"n_angular must be from 1 to 2\^25, got 0"),
        (
            lambda: OPS.angular_harmonics_out(rings, None, orders, torch.empty(2, 2, 4)),
            r"angular_harmonics: out must have shape \(2, 2, 4, 2\)",
        ),
        (
            lambda: OPS.angular_harmonics_backward(torch.rand(2, 3, 4, 2), None, orders, 16),
            "grad is of 3 orders, but there are 2",
        ),
        (
            lambda: OPS.angular_harmonics_backward(torch.rand(2, 2, 4, 2).half(), None, orders, 16),
            "grad has dtype Half; expected float32 or float64",
        ),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
