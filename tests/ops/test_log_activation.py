"""What is particular to the log activation: its formula, accuracy, slope at 0 and memory formats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cdifast import ops, reference


def test_equals_the_printed_form_of_the_paper() -> None:
    x = torch.linspace(-50, 50, 4001, dtype=torch.float64)
    alpha = 0.2
    printed = alpha * torch.sign(x) * (torch.log(x.abs() + 1 / math.e) + 1)  # P1, eq. 11
    torch.testing.assert_close(ops.log_activation(x, alpha), printed, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "exact"), [(np.float32, np.float64), (np.float64, np.longdouble)])
def test_error_is_below_two_units_in_the_last_place(dtype: type, exact: type) -> None:
    generator = np.random.default_rng(0)
    tiny, huge = (-44, 38) if dtype is np.float32 else (-300, 300)
    x = np.concatenate([np.logspace(tiny, huge, 300_000), generator.uniform(0, 4, 300_000)]).astype(dtype)
    e = exact("2.718281828459045235360287471352662498")
    expected = np.log1p(e * x.astype(exact))
    found = ops.log_activation(torch.from_numpy(x), 1.0).numpy()
    ulp = np.abs(found - expected) / np.spacing(expected.astype(dtype))
    assert float(ulp.max()) < 2.0
    assert np.array_equal(ops.log_activation(torch.from_numpy(-x), 1.0).numpy(), -found)


def test_is_continuous_at_zero_with_slope_alpha_e_on_both_sides() -> None:
    x = torch.tensor([-1e-30, -0.0, 0.0, 1e-30], dtype=torch.float64, requires_grad=True)
    y = ops.log_activation(x, 0.2)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, torch.full_like(slope, 0.2 * math.e), rtol=1e-15, atol=0)
    assert torch.equal(y[1:3], torch.zeros(2, dtype=torch.float64))
    assert math.copysign(1.0, float(y[1].detach())) == -1.0


def test_no_cancellation_for_small_arguments() -> None:
    x = torch.tensor([1e-12, 1e-20], dtype=torch.float32)
    torch.testing.assert_close(ops.log_activation(x, 1.0), x * math.e, rtol=2e-7, atol=0)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_memory_format_is_kept_forward_and_backward(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=memory_format).requires_grad_()
    y = ops.log_activation(x)
    assert y.is_contiguous(memory_format=memory_format)
    y.backward(torch.randn_like(y))
    assert x.grad is not None
    assert x.grad.stride() == x.stride()


@pytest.mark.parametrize("alpha_dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_alpha_of_any_dtype_gets_its_gradient(
    dtype: torch.dtype, alpha_dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    x = torch.randn(4, 1000).to(dtype)
    alpha = torch.full(shape, 0.25, dtype=alpha_dtype, requires_grad=True)
    y = ops.log_activation(x, alpha)
    assert y.dtype == dtype
    y.backward(torch.ones_like(y))
    assert alpha.grad is not None
    assert alpha.grad.shape == shape
    expected = reference.log_activation(x.double(), 1.0).sum()
    torch.testing.assert_close(
        alpha.grad.double().reshape(()), expected, rtol=1e-2 if alpha_dtype.itemsize == 2 else 1e-5, atol=1e-4
    )


def test_gradient_of_alpha_over_many_blocks_is_accurate() -> None:
    x = torch.randn(1_000_003)
    alpha = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    ops.log_activation(x, alpha).backward(torch.ones_like(x))
    expected = reference.log_activation(x.double(), 1.0).sum()
    assert alpha.grad is not None
    assert abs(float(alpha.grad - expected)) < 1e-7 * float(x.double().abs().sum())


def test_wrong_alpha_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must have one element, got shape \(3,\)"):
        ops.log_activation(torch.ones(3), torch.ones(3))
    with pytest.raises(TypeError, match="alpha has dtype int64"):
        ops.log_activation(torch.ones(3), torch.tensor(1))


@pytest.mark.skipif(" " in torch.__file__, reason="torch's inductor cannot link where its own path holds a space")
def test_compiled_by_inductor_equals_eager() -> None:
    torch._dynamo.reset()
    x = torch.randn(64, 33, requires_grad=True)
    alpha = torch.tensor(0.3, requires_grad=True)

    def model(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return ops.log_activation(2 * x, alpha) + ops.log_activation(x)

    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(x, alpha), model(x, alpha))
    found = torch.autograd.grad(compiled(x, alpha).sum(), (x, alpha))
    expected = torch.autograd.grad(model(x, alpha).sum(), (x, alpha))
    torch.testing.assert_close(found, expected)


def test_a_number_as_alpha_stays_on_the_cpu_whatever_the_default_device() -> None:
    x = torch.ones(3)
    with torch.device("meta"):
        found = ops.log_activation(x, 0.4)
    assert torch.equal(found, ops.log_activation(x, 0.4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_number_is_computed_in_float32_and_rounded_as_torch_rounds(dtype: torch.dtype) -> None:
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    for alpha in (0.2, 1e-4, 3e4):  # among them results that are subnormal, and infinite, as halves
        found = ops.log_activation(x, alpha)
        expected = ops.log_activation(x.float(), alpha).to(dtype)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(found.isnan(), x.isnan())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_largest_numbers_give_finite_results(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    x = torch.tensor([largest, -largest, largest / 2, 1e30, 1.01e30], dtype=dtype)
    expected = x.double().sign() * (x.double().abs().log() + 1)
    error = (ops.log_activation(x, 1.0).double() / expected - 1).abs().max()
    assert float(error) < 2 * torch.finfo(dtype).eps
    assert torch.isfinite(reference.log_activation(x)).all()
