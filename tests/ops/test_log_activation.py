"""What is particular to the log activation: its formula, accuracy, slope at 0 and memory formats."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from cdifast import _C, ops, reference


def test_equals_the_printed_form_of_the_paper() -> None:
    x = torch.linspace(-50, 50, 4001, dtype=torch.float64)
    alpha = 0.2
    printed = alpha * torch.sign(x) * (torch.log(x.abs() + 1 / math.e) + 1)  # P1, eq. 11
    torch.testing.assert_close(ops.log_activation(x, alpha), printed, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "exact"), [(np.float32, np.float64), (np.float64, np.longdouble)])
def test_error_is_below_two_units_in_the_last_place(dtype: type, exact: type) -> None:
    generator = np.random.default_rng(0)
    tiny, huge = (-44, 38) if dtype is np.float32 else (-300, 300)
    x = np.concatenate([np.logspace(tiny, huge, 300_000), generator.uniform(0, 4, 1_000_000)]).astype(dtype)
    e = exact("2.718281828459045235360287471352662498")
    expected = np.log1p(e * x.astype(exact))
    found = ops.log_activation(torch.from_numpy(x), 1.0).numpy()
    ulp = np.abs(found - expected) / np.spacing(expected.astype(dtype))
    assert float(ulp.max()) < 2.0
    assert np.array_equal(ops.log_activation(torch.from_numpy(-x), 1.0).numpy(), -found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_of_the_slope_is_below_two_units_in_the_last_place(dtype: type) -> None:
    x = np.concatenate([np.logspace(-30, 30, 100_000), np.random.default_rng(0).uniform(0, 4, 100_000)]).astype(dtype)
    tensor = torch.from_numpy(x).requires_grad_()
    ops.log_activation(tensor, 1.0).sum().backward()
    assert tensor.grad is not None
    expected = 1 / (x.astype(np.longdouble) + 1 / np.exp(np.longdouble(1)))
    ulp = np.abs(tensor.grad.numpy() - expected) / np.spacing(expected.astype(dtype))
    assert float(ulp.max()) < 2.0


def test_nan_infinity_zero_and_subnormal_numbers() -> None:
    for dtype in (torch.float32, torch.float64):
        tiny = torch.finfo(dtype).smallest_normal / 4
        x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, tiny, -tiny], dtype=dtype, requires_grad=True)
        y = ops.log_activation(x, 1.0)
        expected = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, math.e * tiny, -math.e * tiny], dtype=dtype)
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=0, equal_nan=True)
        assert torch.equal(y.signbit()[3:], torch.tensor([False, True, False, True]))
        (slope,) = torch.autograd.grad(y.sum(), x)
        expected = torch.tensor([math.nan, 0, 0, math.e, math.e, math.e, math.e], dtype=dtype)
        torch.testing.assert_close(slope, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_result_written_past_the_caches_is_the_same(dtype: torch.dtype) -> None:
    """From 16 MiB on; compared with results too small for that, from every alignment that an element can have."""
    count = 2**24 // dtype.itemsize + 1000
    memory, grad = torch.randn(2, count + 3).to(dtype)
    bias = torch.tensor([0.3, -0.7])
    for offset in (0, 1, 3):
        x = memory[offset : offset + count].view(2, 2, -1)
        out = torch.empty(count + 1, dtype=dtype)[1:].view(x.shape)
        assert ops.log_activation(x, 0.3, bias=bias, out=out) is out
        tracked = x.clone().requires_grad_()
        ops.log_activation(tracked, 0.3, bias=bias).backward(grad[:count].view(x.shape))
        assert tracked.grad is not None
        for n in range(2):
            for c in range(2):
                part = (x[n, c] + bias[c]).to(dtype) if dtype.itemsize > 2 else x[n, c].float() + bias[c]
                pieces = [ops.log_activation(piece, 0.3).to(dtype) for piece in part.split(100_003)]
                assert torch.equal(out[n, c], torch.cat(pieces))
                small = part.requires_grad_()
                ops.log_activation(small, 0.3).backward(grad[:count].view(x.shape)[n, c].to(part.dtype))
                assert torch.equal(tracked.grad[n, c], small.grad.to(dtype))


@pytest.mark.parametrize("capability", _C.build_info()["cpu_capabilities"])
def test_the_numbers_hold_in_every_instruction_set(capability: str) -> None:
    chosen = "last_place or subnormal or caches or half_number or largest_numbers"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, __file__],
        env=os.environ | {"CDIFAST_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if "this machine does not have that instruction set" in done.stdout + done.stderr:
        pytest.skip(f"this machine has no {capability}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


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


def test_a_bias_that_does_not_fit_is_refused() -> None:
    for x, bias in (
        (torch.ones(3), torch.ones(3)),
        (torch.ones(2, 3), torch.ones(2)),
        (torch.ones(2, 3), torch.ones(1)),
        (torch.ones(2, 3), torch.ones(3, 1)),
        (torch.ones(2, 3), torch.tensor(1.0)),
    ):
        with pytest.raises(ValueError, match=r"bias must have shape \(C,\) for x of shape \(N, C, ...\), got bias"):
            ops.log_activation(x, bias=bias)
    with pytest.raises(TypeError, match="bias has dtype int64"):
        ops.log_activation(torch.ones(2, 3), bias=torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="bias is on meta, x on cpu"):
        ops.log_activation(torch.ones(2, 3), bias=torch.ones(3, device="meta"))


# Channels that come in long runs, in runs shorter than a tile, side by side, alone, and in an order that is neither.
LAYOUTS = [
    ("planes", (3, 5, 40, 30), None),
    ("short planes", (300, 7, 3), None),
    ("single elements", (501, 64), None),
    ("one channel", (3, 1, 90, 41), None),
    ("channels last", (3, 70, 20, 9), (0, 2, 3, 1)),
    ("batch last", (40, 5, 6, 7), (1, 2, 3, 0)),
    ("mixed", (4, 5, 6, 33), (3, 1, 0, 2)),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "order"), [layout[1:] for layout in LAYOUTS], ids=[layout[0] for layout in LAYOUTS])
def test_bias_in_any_layout_and_its_gradient(
    dtype: torch.dtype, shape: tuple[int, ...], order: tuple[int, ...] | None
) -> None:
    x = torch.randn(shape).to(dtype)
    if order is not None:
        back = [order.index(d) for d in range(len(order))]
        x = x.permute(order).contiguous().permute(back)
        assert not x.is_contiguous()
    bias = torch.randn(shape[1], dtype=torch.float64).requires_grad_()
    tracked = x.clone().requires_grad_()
    alpha = torch.tensor(0.3, requires_grad=True)
    y = ops.log_activation(tracked, alpha, bias=bias)
    assert y.stride() == x.stride()
    # The sum is rounded to the type of arithmetic, not to x's: the kernel without a bias gives the very same.
    compute = torch.promote_types(dtype, torch.float32)
    shifted = x.to(compute) + bias.detach().to(compute).view(-1, *(1,) * (x.dim() - 2))
    assert torch.equal(y, ops.log_activation(shifted, alpha.detach()).to(dtype))
    out = torch.empty_like(x)
    assert torch.equal(ops.log_activation(x, 0.3, bias=bias.detach(), out=out), ops.log_activation(x, 0.3, bias=bias))

    grad = torch.randn(shape).to(dtype)
    y.backward(grad)
    assert tracked.grad is not None
    assert bias.grad is not None
    exact = tracked.grad.double().transpose(0, 1).flatten(1).sum(1)
    torch.testing.assert_close(bias.grad, exact, rtol=1e-6 if dtype != torch.float64 else 1e-13, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True], ids=["planes", "channels_last"])
@pytest.mark.parametrize("shape", [(5, 70, 40, 41), (1, 3, 500, 700), (7, 1, 300, 301)])
def test_gradient_of_the_bias_does_not_depend_on_the_number_of_threads(
    shape: tuple[int, ...], channels_last: bool
) -> None:
    x = torch.randn(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    bias = torch.randn(shape[1], requires_grad=True)
    grad = torch.randn_like(x)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            found += torch.autograd.grad(ops.log_activation(x, bias=bias), bias, grad)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_out_may_be_x_itself_and_of_any_dense_layout() -> None:
    x = torch.randn(2, 3, 8, 10)
    bias = torch.randn(3)
    expected = ops.log_activation(x, bias=bias)
    layouts = (x, x.contiguous(memory_format=torch.channels_last), x.repeat(1, 1, 1, 2)[..., :10])
    for source in layouts:
        for target in layouts[:2]:
            out = torch.empty_like(target)
            assert torch.equal(ops.log_activation(source, bias=bias, out=out), expected)
            assert out.stride() == target.stride()
    for own in (x.clone(), x.contiguous(memory_format=torch.channels_last).clone(memory_format=torch.preserve_format)):
        before = own._version
        assert ops.log_activation(own, bias=bias, out=own) is own
        assert torch.equal(own, expected)
        assert own._version > before
        with pytest.raises(ValueError, match="out must not share memory with an input, unless it is the first input"):
            ops.log_activation(own, out=own.as_strided(x.shape, (1, 2, 6, 48)))
    with pytest.raises(ValueError, match="out must be dense"):
        ops.log_activation(layouts[2], out=layouts[2])


def test_compiled_in_place() -> None:
    torch._dynamo.reset()
    x = torch.randn(4, 5)
    expected = ops.log_activation(x, 0.4)
    compiled = torch.compile(lambda x: ops.log_activation(x, 0.4, out=x).neg(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), -expected)
    assert torch.equal(x, expected)
