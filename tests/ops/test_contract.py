"""What every operator must do, whatever it computes: one table of properties over ``contract.CASES``."""

from __future__ import annotations

import pytest
import torch
from contract import CASES, Case, layouts
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from cdifast import _C
from cdifast.ops._checks import check_backend
from cdifast.ops.dtypes import FLOATING

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# Relative error (norm) against the float64 reference of the same, rounded input.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float32: 2e-6, torch.float64: 1e-13}


def as_dtype(case: Case, dtype: torch.dtype) -> tuple[Tensor, ...]:
    first, *rest = case.inputs()
    return ((first * case.scale if not dtype.is_floating_point else first).to(dtype), *rest)


def relative_error(found: Tensor, expected: Tensor) -> float:
    wide = torch.complex128 if expected.is_complex() else torch.float64
    return float((found.to(wide) - expected.to(wide)).norm() / expected.to(wide).norm())


def total(out: Tensor) -> Tensor:
    """A real number to differentiate, of real and complex results."""
    return (torch.view_as_real(out) if out.is_complex() else out).sum()


def of_result(dtype: torch.dtype, result: Tensor) -> torch.dtype:
    """The dtype that a result is to have: the input's where it is floating; complex ones have no half types."""
    if result.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if dtype.is_floating_point else torch.float32


def tracked(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.clone().requires_grad_() for t in inputs)


def repeated(inputs: tuple[Tensor, ...], times: int) -> tuple[Tensor, ...]:
    """The batch of the first input ``times`` over, and so every other input that has one."""
    batch = inputs[0].shape[0]
    return tuple(t.repeat(times, *[1] * (t.dim() - 1)) if t.dim() and t.shape[0] == batch else t for t in inputs)


@every_case
def test_matches_the_float64_reference_in_every_dtype(case: Case) -> None:
    for dtype in case.dtypes:
        inputs = as_dtype(case, dtype)
        expected = case.reference(inputs[0].double(), *inputs[1:])
        found = case.operator(*inputs)
        assert found.dtype == of_result(dtype, expected)
        assert relative_error(found, expected) < TOLERANCE.get(dtype, 2e-6), dtype


@every_case
def test_gradients_are_those_of_the_reference(case: Case) -> None:
    ours, theirs = tracked(case.inputs()), tracked(case.inputs())
    out = case.operator(*ours)
    cotangent = torch.rand_like(out)
    found = torch.autograd.grad(out, ours, cotangent)
    expected = torch.autograd.grad(case.reference(*theirs), theirs, cotangent)
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert relative_error(f, e) < 1e-12


@every_case
def test_gradcheck_to_second_order(case: Case) -> None:
    inputs = tracked(case.inputs())
    assert gradcheck(case.operator, inputs)
    if case.twice:
        assert gradgradcheck(case.operator, inputs, fast_mode=True)


@every_case
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_opcheck(case: Case, grad: bool) -> None:
    inputs = tracked(case.inputs()) if grad else case.inputs()
    for operator, arguments in case.dispatcher(inputs):
        torch.library.opcheck(operator, arguments)


@every_case
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiled_without_a_graph_break_equals_eager(case: Case, dynamic: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *inputs: case.operator(*inputs).sin(), fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    ours, theirs = tracked(case.inputs()), tracked(case.inputs())
    found, expected = compiled(*ours), case.operator(*theirs).sin()
    assert torch.equal(found, expected)
    for f, e in zip(torch.autograd.grad(total(found), ours), torch.autograd.grad(total(expected), theirs), strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-14)


@every_case
def test_autocast_computes_in_float32(case: Case) -> None:
    inputs = as_dtype(case, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = case.operator(*inputs)
    assert found.dtype == of_result(torch.float32, found)
    assert torch.equal(found, case.operator(inputs[0].float(), *inputs[1:]))


@every_case
def test_a_backward_pass_inside_autocast_stays_in_float32(case: Case) -> None:
    first, *rest = case.inputs()
    gradients = []
    for enabled in (False, True):
        inputs = (first.float().requires_grad_(), *rest)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            total(case.operator(*inputs)).backward()
        gradients.append(inputs[0].grad)
    assert torch.equal(gradients[0], gradients[1])


@every_case
def test_export_with_any_batch_size(case: Case) -> None:
    class Model(torch.nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            return case.operator(*inputs)

    first, *rest = case.inputs()
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = tuple({0: batch} if t.dim() and t.shape[0] == first.shape[0] else None for t in (first, *rest))
    exported = torch.export.export(Model(), (first, *rest), dynamic_shapes=(shapes,)).module()
    double = [torch.cat([t, t]) if t.dim() and t.shape[0] == first.shape[0] else t for t in (first, *rest)]
    assert torch.equal(exported(*double), case.operator(*double))


@every_case
def test_vmap_equals_a_loop(case: Case) -> None:
    inputs = case.inputs()
    # Mapped over a new last dimension of the first input, and over every other input's batch too where it has one.
    stacked = torch.stack([inputs[0] * s for s in (1.0, 0.5)], dim=-1)
    found = torch.func.vmap(case.operator, in_dims=(-1, *[None] * (len(inputs) - 1)), out_dims=1)(stacked, *inputs[1:])
    expected = torch.stack([case.operator(inputs[0] * s, *inputs[1:]) for s in (1.0, 0.5)], dim=1)
    assert torch.equal(found, expected)
    nothing = torch.func.vmap(case.operator, in_dims=(-1, *[None] * (len(inputs) - 1)))(stacked[..., :0], *inputs[1:])
    assert nothing.shape == (0, *case.operator(*inputs).shape)
    if len(inputs) > 1:
        others = [torch.stack([t, t * 0.97]) for t in inputs[1:]]
        found = torch.func.vmap(case.operator, in_dims=(None, *[0] * len(others)))(inputs[0], *others)
        expected = torch.stack([case.operator(inputs[0], *(t[i] for t in others)) for i in range(2)])
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@every_case
def test_batched_backward_equals_a_loop(case: Case) -> None:
    """``torch.autograd.functional.jacobian(vectorize=True)`` and the like run the backward pass under vmap."""
    inputs = tracked(case.inputs())
    out = case.operator(*inputs)
    cotangents = torch.randn(3, *out.shape, dtype=out.dtype)
    found = torch.autograd.grad(out, inputs, cotangents, is_grads_batched=True, retain_graph=True)
    for i in range(3):
        expected = torch.autograd.grad(out, inputs, cotangents[i], retain_graph=True)
        for f, e in zip(found, expected, strict=True):
            torch.testing.assert_close(f[i], e, rtol=1e-12, atol=1e-14)


@every_case
def test_torch_func_derivatives_raise_instead_of_returning_zeros(case: Case) -> None:
    inputs = case.inputs()
    # torch's own limit for operators registered from outside: loud, and pinned here so that a change is noticed.
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda *tensors: case.operator(*tensors).sum())(*inputs)
    tangents = tuple(torch.ones_like(t) for t in inputs)
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(case.operator, inputs, tangents)


@every_case
def test_batch_dimensions(case: Case) -> None:
    if not case.batched:
        pytest.skip("dimension 1 has a meaning of its own")
    first, *rest = case.inputs()
    whole = case.operator(first, *rest)
    per_image = [t for t in rest if t.dim() and t.shape[0] == first.shape[0]]

    def batched(shape: tuple[int, ...]) -> Tensor:
        others = [t.reshape(*shape, *t.shape[1:]) if t in per_image else t for t in rest]
        return case.operator(first.reshape(*shape, *first.shape[1:]), *others)

    assert torch.equal(batched((3, 1)), whole[:, None])
    single = case.operator(first[0], *(t[0] if any(t is p for p in per_image) else t for t in rest))
    assert torch.equal(single, whole[0])


@every_case
def test_empty_batch_forward_and_backward(case: Case) -> None:
    first, *rest = case.inputs()
    empty = first[:0].requires_grad_()
    others = [t[:0] if t.dim() and t.shape[0] == first.shape[0] else t for t in rest]
    out = case.operator(empty, *others)
    assert out.shape[0] == 0
    total(out).backward()
    assert empty.grad is not None
    assert empty.grad.shape == empty.shape


@every_case
def test_any_memory_layout(case: Case) -> None:
    first, *rest = case.inputs()
    expected = case.operator(first, *rest)
    for variant in layouts(first):
        assert torch.equal(variant, first)
        tensor = variant.detach().requires_grad_()
        out = case.operator(tensor, *rest)
        assert torch.equal(out, expected)
        # The cotangent comes in another layout still.
        (found,) = torch.autograd.grad(out, tensor, torch.ones_like(out).mT.contiguous().mT)
        plain = first.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(case.operator(plain, *rest), plain, torch.ones_like(expected))
        # Not bit for bit: a matrix product may sum another layout in another order.
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


@every_case
def test_nan_and_infinity_pass_through(case: Case) -> None:
    first, *rest = case.inputs()
    for special in (float("nan"), float("inf"), float("-inf")):
        spoiled = first.clone()
        spoiled[1] = special
        found, expected = case.operator(spoiled, *rest), case.reference(spoiled, *rest)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13, equal_nan=True)
        assert torch.equal(found[0], case.operator(first, *rest)[0])  # and stay in their own image


@every_case
def test_result_does_not_depend_on_the_number_of_threads(case: Case) -> None:
    big = repeated(case.inputs(), 7)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            tensors = tuple(t.clone().requires_grad_() for t in big)
            out = case.operator(*tensors)
            results.append([out, *torch.autograd.grad(total(out.sin()), tensors)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@every_case
def test_other_dtypes_and_types_are_refused_by_name(case: Case) -> None:
    first, *rest = case.inputs()
    refused = torch.int64 if case.dtypes != FLOATING else torch.int32
    with pytest.raises(TypeError, match=rf"has dtype {str(refused).removeprefix('torch.')}; expected .*float32"):
        case.operator(first.to(refused), *rest)
    with pytest.raises(TypeError, match=r"must be a torch.Tensor, got ndarray.*from_dlpack"):
        case.operator(first.numpy(), *rest)


@every_case
def test_a_cuda_tensor_without_a_cuda_kernel_is_refused(case: Case) -> None:
    with FakeTensorMode():  # stands in for a tensor on a GPU, which no build machine has
        cuda = torch.empty(3, 8, 8, device="cuda")
    built_with_cuda = _C.build_info()["cuda"] is not None
    if case.cuda and built_with_cuda:
        check_backend(case.kernels[0], cuda)
    else:
        with pytest.raises(RuntimeError, match=rf"^{case.kernels[0]}: got a tensor on cuda.*CUDA.*\.cpu\(\)"):
            check_backend(case.kernels[0], cuda)
