"""The log activation's CUDA kernels, launchers and registration, run by the emulator."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import Configure
from emulator_build import MAX_BLOCKS
from torch import Tensor

from cdifast import reference

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Those of tests/ops/test_contract.py: relative error (norm) against the float64 reference of the same, rounded input.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float32: 2e-6, torch.float64: 1e-13}
THREADS, VECTOR_BYTES = 256, 16
OPS = torch.ops.cdifast_emulator

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def sizes(dtype: torch.dtype) -> list[int]:
    """Around a block, and beyond what the largest grid covers in one stride, for packs and for single elements."""
    vector = VECTOR_BYTES // dtype.itemsize
    return [0, 1, 7, 255, 256, 257, MAX_BLOCKS * THREADS + 1, MAX_BLOCKS * THREADS * vector + 3]


def samples(count: int, dtype: torch.dtype, offset: int = 0) -> Tensor:
    """``count`` numbers of both signs over several decades, ``offset`` elements into their storage."""
    values = torch.randn(count + offset, dtype=torch.float64) * 10 ** torch.empty(count + offset).uniform_(-3, 2)
    return values.to(dtype)[offset:]


def relative_error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()  # in particular, no element was left as it was allocated
    scale = float(expected.double().norm())
    return float((found.double() - expected.double()).norm()) / (scale or 1.0)


def expected_gradients(grad: Tensor, x: Tensor, alpha: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x64, alpha64 = (t.double().detach().requires_grad_() for t in (x, alpha))
    value = reference.log_activation(x64, alpha64, bias=bias)
    grad_x, grad_alpha = torch.autograd.grad(value, (x64, alpha64), grad.double())
    return grad_x.detach(), grad_alpha.detach()


@every_dtype
@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "misaligned"])
@pytest.mark.parametrize("on_device", [False, True], ids=["alpha_number", "alpha_on_device"])
def test_equals_the_float64_reference(configure: Configure, dtype: torch.dtype, offset: int, on_device: bool) -> None:
    configure(scalars_on_device=on_device)
    alpha = torch.tensor(0.3, dtype=dtype)
    for size in sizes(dtype):
        x, grad = samples(size, dtype, offset), samples(size, dtype)
        assert size == 0 or (x.data_ptr() % VECTOR_BYTES == 0) == (offset == 0)
        expected, expected_alpha = expected_gradients(grad, x, alpha)
        value = OPS.log_activation(x, alpha, None)
        assert value.dtype == dtype
        assert relative_error(value, reference.log_activation(x.double(), alpha.double())) < TOLERANCE[dtype]
        assert relative_error(OPS.log_activation_backward(grad, x, alpha, None), expected) < TOLERANCE[dtype]
        grad_x, grad_alpha = OPS.log_activation_backward_alpha(grad, x, alpha, None)
        assert relative_error(grad_x, expected) < TOLERANCE[dtype]
        assert grad_alpha.dtype == alpha.dtype
        # Of a sum with both signs, the error is measured by the sum of magnitudes.
        magnitude = float((grad.double() * reference.log_activation(x.double(), 1.0)).abs().sum()) or 1.0
        assert abs(float(grad_alpha) - float(expected_alpha)) / magnitude < TOLERANCE[dtype]


@pytest.mark.parametrize("on_device", [False, True], ids=["alpha_number", "alpha_on_device"])
def test_alpha_in_every_dtype(configure: Configure, on_device: bool) -> None:
    configure(scalars_on_device=on_device)
    x, grad = samples(999, torch.float32), samples(999, torch.float32)
    for dtype in DTYPES:
        alpha = torch.tensor([0.3], dtype=dtype)
        expected, expected_alpha = expected_gradients(grad, x, alpha)
        assert (
            relative_error(OPS.log_activation(x, alpha, None), reference.log_activation(x.double(), alpha.double()))
            < 2e-6
        )
        grad_x, grad_alpha = OPS.log_activation_backward_alpha(grad, x, alpha, None)
        assert relative_error(grad_x, expected) < 2e-6
        assert (grad_alpha.shape, grad_alpha.dtype) == (alpha.shape, dtype)
        assert relative_error(grad_alpha, expected_alpha) < max(TOLERANCE[dtype], 2e-6)


@pytest.mark.same_accesses
@every_dtype
def test_bit_for_bit_the_same_in_any_order_of_threads_and_whatever_shared_memory_held(
    configure: Configure, dtype: torch.dtype
) -> None:
    size = sizes(dtype)[-1]
    x, grad, alpha = samples(size, dtype), samples(size, dtype), torch.tensor(0.3, dtype=torch.float64)
    results = []
    for schedule, poison in ((0, 0xFF), (0, 0xFF), (1, 0x00), (2, 0x5A), (3, 0x7F)):
        configure(schedule, poison)
        results.append((OPS.log_activation(x, alpha, None), *OPS.log_activation_backward_alpha(grad, x, alpha, None)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_any_memory_layout(configure: Configure) -> None:
    alpha = torch.tensor(0.3)
    x = samples(2 * 3 * 10 * 12, torch.float32).reshape(2, 3, 10, 12)
    grad = samples(x.numel(), torch.float32).reshape(x.shape)
    expected = OPS.log_activation(x, alpha, None), *OPS.log_activation_backward_alpha(grad, x, alpha, None)
    for variant in (
        x.mT.contiguous().mT,
        x.contiguous(memory_format=torch.channels_last),
        x.repeat(1, 1, 1, 2)[..., :12],
    ):
        found = OPS.log_activation(variant, alpha, None), *OPS.log_activation_backward_alpha(grad, variant, alpha, None)
        for f, e in zip(found[:2], expected[:2], strict=True):
            assert torch.equal(f, e)
        assert float(found[2]) == pytest.approx(float(expected[2]), rel=1e-6, abs=1e-5)  # summed in another order


@every_dtype
@pytest.mark.parametrize("bias_dtype", [torch.bfloat16, torch.float64])
def test_a_bias_in_any_layout(configure: Configure, dtype: torch.dtype, bias_dtype: torch.dtype) -> None:
    alpha = torch.tensor(0.3, dtype=torch.float64)
    for shape in ((7, 3), (5, 1, 9), (2, 5, 3, 7), (2, 4, 8, 8), (3, 1000, 2)):
        bias = samples(shape[1], torch.float32).to(bias_dtype)
        x, grad = (samples(math.prod(shape), dtype).reshape(shape) for _ in range(2))
        expected = reference.log_activation(x.double(), alpha, bias=bias.double())
        expected_x, expected_alpha = expected_gradients(grad, x, alpha, bias.double())
        for variant in (
            x,
            x.transpose(0, 1).contiguous().transpose(0, 1),
            x.mT.contiguous().mT,
            x.movedim(0, -1).contiguous().movedim(-1, 0),
        ):
            value = OPS.log_activation(variant, alpha, bias)
            assert relative_error(value, expected) < TOLERANCE[dtype]
            assert (
                relative_error(OPS.log_activation_backward(grad, variant, alpha, bias), expected_x) < TOLERANCE[dtype]
            )
            grad_x, grad_alpha = OPS.log_activation_backward_alpha(grad, variant, alpha, bias)
            assert relative_error(grad_x, expected_x) < TOLERANCE[dtype]
            magnitude = float((grad.double() * expected).abs().sum()) / 0.3
            assert abs(float(grad_alpha) - float(expected_alpha)) / magnitude < TOLERANCE[dtype]
            sums = OPS.log_activation_backward_bias(grad_x)
            assert sums.dtype == torch.promote_types(dtype, torch.float32)
            assert relative_error(sums, grad_x.double().transpose(0, 1).flatten(1).sum(1)) < 1e-5


@every_dtype
def test_writes_into_out_in_any_dense_layout_and_in_place(configure: Configure, dtype: torch.dtype) -> None:
    alpha, bias = torch.tensor(0.3), samples(3, torch.float32)
    x = samples(2 * 3 * 10 * 12, dtype).reshape(2, 3, 10, 12)
    expected = OPS.log_activation(x, alpha, bias)
    for source in (x, x.contiguous(memory_format=torch.channels_last), x.repeat(1, 1, 1, 2)[..., :12]):
        for out in (torch.empty_like(x), torch.empty_like(x, memory_format=torch.channels_last)):
            assert OPS.log_activation_out(source, alpha, bias, out) is None
            assert torch.equal(out, expected)
    OPS.log_activation_out(x, alpha, bias, x)
    assert torch.equal(x, expected)


def test_special_values(configure: Configure) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 3e38, 1e-45], dtype=torch.float32)
    alpha = torch.tensor(0.2)
    found = OPS.log_activation(x, alpha, None)
    expected = reference.log_activation(x.double(), 0.2).float()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, equal_nan=True)
    assert math.copysign(1.0, found[4]) == -1.0


def test_refuses_what_the_gpu_would_refuse(configure: Configure) -> None:
    x, alpha = torch.ones(4), torch.tensor(0.2)
    with pytest.raises(RuntimeError, match="alpha has 2 elements; expected 1"):
        OPS.log_activation(x, torch.ones(2), None)
    with pytest.raises(RuntimeError, match="x has dtype Int; expected float16"):
        OPS.log_activation(x.int(), alpha, None)
    with pytest.raises(RuntimeError, match="grad and x differ in shape"):
        OPS.log_activation_backward(torch.ones(5), x, alpha, None)
    for x_, bias in ((x, torch.ones(4)), (torch.ones(2, 3), torch.ones(2)), (torch.ones(2, 3), torch.ones(3, 1))):
        with pytest.raises(RuntimeError, match="bias must have one element for each of x's channels"):
            OPS.log_activation(x_, alpha, bias)
    for out, message in (
        (torch.empty(5), "out and x differ in shape"),
        (torch.empty(4).double(), "out and x differ in dtype"),
        (torch.empty(8)[::2], "out is not dense"),
    ):
        with pytest.raises(RuntimeError, match=message):
            OPS.log_activation_out(x, alpha, None, out)
