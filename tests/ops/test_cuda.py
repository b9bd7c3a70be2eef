"""The contract on a GPU: ``pytest -m gpu``, over the same table as on the CPU (``contract.CASES``)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from contract import CASES, Case, layouts
from test_contract import TOLERANCE, as_dtype, of_result, relative_error, repeated, total, tracked
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from cdifast import ops, reference

pytestmark = pytest.mark.gpu

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def on_gpu(tensors: tuple[Tensor, ...], grad: bool = False) -> tuple[Tensor, ...]:
    return tuple(t.cuda().requires_grad_(grad) for t in tensors)


@every_case
def test_matches_the_float64_reference_in_every_dtype(case: Case) -> None:
    for dtype in case.dtypes:
        inputs = as_dtype(case, dtype)
        expected = case.reference(inputs[0].double(), *inputs[1:])
        found = case.operator(*on_gpu(inputs))
        assert found.is_cuda
        assert found.dtype == of_result(dtype, expected)
        assert relative_error(found.cpu(), expected) < TOLERANCE.get(dtype, 2e-6), dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_learnable_alpha_may_be_of_any_dtype_on_either_device(dtype: torch.dtype, device: str) -> None:
    x, alpha = torch.randn(3, 4, 50), torch.tensor(0.3).to(dtype)
    expected = reference.log_activation(x.double(), alpha.double())
    found = ops.log_activation(x.cuda(), alpha.to(device))
    assert relative_error(found.cpu(), expected) < 2e-6


@every_case
def test_gradients_are_those_of_the_reference(case: Case) -> None:
    ours, theirs = on_gpu(case.inputs(), grad=True), tracked(case.inputs())
    out = case.operator(*ours)
    cotangent = torch.rand_like(out)
    found = torch.autograd.grad(out, ours, cotangent)
    expected = torch.autograd.grad(case.reference(*theirs), theirs, cotangent.cpu())
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert relative_error(f.cpu(), e) < 1e-12


@every_case
def test_gradcheck_to_second_order(case: Case) -> None:
    inputs = on_gpu(case.inputs(), grad=True)
    assert gradcheck(case.operator, inputs, fast_mode=True)
    if case.twice:
        assert gradgradcheck(case.operator, inputs, fast_mode=True)


@every_case
def test_every_run_gives_the_same_bits_and_a_large_batch_those_of_a_small_one(case: Case) -> None:
    """Nothing is summed by atomics, and no image knows of its batch."""
    small = on_gpu(case.inputs())
    big = repeated(small, 301)
    runs = []
    for _ in range(3):
        tensors = tuple(t.clone().requires_grad_() for t in big)
        out = case.operator(*tensors)
        runs.append([out.detach(), *torch.autograd.grad(total(out.sin()), tensors)])
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert torch.equal(a, b)
    assert torch.equal(runs[0][0][-3:], case.operator(*small))


@every_case
def test_any_memory_layout(case: Case) -> None:
    first, *rest = on_gpu(case.inputs())
    expected = case.operator(first, *rest)
    for variant in layouts(first):
        tensor = variant.detach().requires_grad_()
        out = case.operator(tensor, *rest)
        assert torch.equal(out, expected)
        (found,) = torch.autograd.grad(out, tensor, torch.ones_like(out).mT.contiguous().mT)
        plain = first.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(case.operator(plain, *rest), plain, torch.ones_like(expected))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


@every_case
def test_empty_batch_forward_and_backward(case: Case) -> None:
    first, *rest = on_gpu(case.inputs())
    empty = first[:0].requires_grad_()
    out = case.operator(empty, *(t[:0] if t.dim() and t.shape[0] == first.shape[0] else t for t in rest))
    assert out.shape[0] == 0
    total(out).backward()
    assert empty.grad is not None
    assert empty.grad.shape == empty.shape


@every_case
def test_nan_and_infinity_pass_through(case: Case) -> None:
    first, *rest = case.inputs()
    for special in (float("nan"), float("inf"), float("-inf")):
        spoiled = first.clone()
        spoiled[1] = special
        expected = case.reference(spoiled, *rest)
        found = case.operator(*on_gpu((spoiled, *rest)))
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-13, equal_nan=True)


@every_case
def test_vmap_equals_a_loop(case: Case) -> None:
    first, *rest = on_gpu(case.inputs())
    stacked = torch.stack([first, first * 0.5], dim=-1)
    found = torch.func.vmap(case.operator, in_dims=(-1, *[None] * len(rest)), out_dims=1)(stacked, *rest)
    expected = torch.stack([case.operator(first * s, *rest) for s in (1.0, 0.5)], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


@every_case
def test_autocast_computes_in_float32(case: Case) -> None:
    first, *rest = on_gpu(as_dtype(case, torch.bfloat16))
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = case.operator(first, *rest)
    assert found.dtype == of_result(torch.float32, found)
    assert torch.equal(found, case.operator(first.float(), *rest))


@pytest.mark.parametrize("case", [case for case in CASES if case.out], ids=lambda case: case.name)
def test_out_is_the_functional_result_in_the_very_tensor(case: Case) -> None:
    assert case.out is not None
    for dtype in case.dtypes:
        inputs = on_gpu(as_dtype(case, dtype))
        expected = case.operator(*inputs)
        out = torch.full_like(expected, float("nan"))
        assert case.out(*inputs, out=out) is out
        assert torch.equal(out, expected), dtype


@every_case
def test_runs_on_the_current_stream(case: Case) -> None:
    """An input that is still being made on a side stream is waited for there, forward and backward."""
    first, *rest = on_gpu(case.inputs())
    expected = case.operator(first, *rest)
    plain = first.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(total(case.operator(plain, *rest)), plain)
    late = torch.zeros_like(first)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)  # some 10 ms
        late.copy_(first)
        tracked_late = late.detach().requires_grad_()
        out = case.operator(tracked_late, *rest)
        (found,) = torch.autograd.grad(total(out), tracked_late)
    stream.synchronize()
    assert torch.equal(out, expected)
    assert torch.equal(found, wanted)


REALISTIC: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[int, int]]] = {
    "polar": (
        lambda x: ops.polar_resample(x, 112, 224),
        lambda x: reference.polar_resample(x, 112, 224)[0],
        (224, 224),
    ),
    "polar, odd": (
        lambda x: ops.polar_resample(x, 67, 131, center=(120.3, 77.7), r_min=3.0, r_max=140.0),
        lambda x: reference.polar_resample(x, 67, 131, center=(120.3, 77.7), r_min=3.0, r_max=140.0)[0],
        (231, 149),
    ),
    "cartesian": (
        lambda x: ops.cartesian_resample(x, 224, 224),
        lambda x: reference.cartesian_resample(x, 224, 224)[0],
        (112, 224),
    ),
    "harmonics": (
        lambda x: torch.view_as_real(ops.angular_harmonics(x, list(range(-3, 40)))),
        lambda x: torch.view_as_real(reference.angular_harmonics(x, list(range(-3, 40)))),
        (131, 224),
    ),
    "correlation": (ops.correlation_map, lambda x: reference.correlation_map(x)[0], (131, 225)),
    "correlation, pearson": (
        partial(ops.correlation_map, normalize="pearson"),
        lambda x: reference.correlation_map(x, normalize="pearson")[0],
        (112, 224),
    ),
    "fused": (
        lambda x: ops.polar_correlation_map(x, 100, 224),
        lambda x: reference.polar_correlation_map(x, 100, 224)[0],
        (300, 301),
    ),
}


@pytest.mark.parametrize("name", REALISTIC)
def test_float32_at_the_sizes_of_detectors(name: str) -> None:
    operator, definition, shape = REALISTIC[name]
    x = torch.rand(3, *shape) * 100
    ours, theirs = x.cuda().requires_grad_(), x.double().requires_grad_()
    found, expected = operator(ours), definition(theirs)
    assert relative_error(found.cpu(), expected) < 2e-6
    cotangent = torch.rand(expected.shape)
    (gradient,) = torch.autograd.grad(found, ours, cotangent.cuda())
    (wanted,) = torch.autograd.grad(expected, theirs, cotangent.double())
    assert relative_error(gradient.cpu(), wanted) < 2e-6


@pytest.mark.parametrize("normalize", ["none", "mean", "pearson"])
def test_an_all_masked_ring_gives_fill(normalize: Any) -> None:
    images = torch.rand(2, 64, 64, device="cuda")
    mask = torch.ones(64, 64, dtype=torch.bool)
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    mask[torch.hypot(y, x) < 8] = False  # a beam stop
    found = ops.polar_correlation_map(images, 16, 32, mask=mask.cuda(), normalize=normalize, fill=-7.0).cpu()
    expected = ops.polar_correlation_map(images.cpu(), 16, 32, mask=mask, normalize=normalize, fill=-7.0)
    assert torch.all(found[:, 0] == -7.0)
    assert torch.equal(found == -7.0, expected == -7.0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_more_than_two_to_the_31_elements() -> None:
    x = torch.zeros(2**31 + 64, dtype=torch.float16, device="cuda")
    x[-3:] = torch.tensor([1.0, -2.0, 3.0], device="cuda")
    assert torch.equal(
        ops.log_activation(x, out=x)[-4:].cpu(), ops.log_activation(torch.tensor([0, 1.0, -2, 3]).half())
    )
    images = torch.zeros(2**31 // 1024**2 + 2, 1024, 1024, dtype=torch.uint8, device="cuda")
    images[-1] = torch.randint(256, (1024, 1024), dtype=torch.uint8)
    unwrapped = ops.polar_resample(images, 4, 8)
    assert torch.equal(unwrapped[-1], ops.polar_resample(images[-1], 4, 8))
    assert torch.all(unwrapped[:-1] == 0)


def test_memory_beyond_the_result_is_bounded() -> None:
    frames = torch.rand(4096, 224, 224, device="cuda")
    out = torch.empty(4096, 112, 112, device="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    ops.polar_correlation_map(frames, 112, 224, out=out)
    assert torch.cuda.max_memory_allocated() - before < 300 << 20
