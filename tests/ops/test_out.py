"""The ``out=`` form of every operator that has one: ``Case.out`` in ``contract.CASES``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import CASES, Case
from test_contract import as_dtype, repeated, tracked
from torch import Tensor
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

every_case = pytest.mark.parametrize("case", [case for case in CASES if case.out], ids=lambda case: case.name)


def with_out(case: Case) -> Callable[..., Tensor]:
    assert case.out is not None
    return case.out


def unwritten(like: Tensor) -> Tensor:
    return torch.full_like(like, float("nan"))


@every_case
def test_is_the_functional_result_bit_for_bit_in_the_very_tensor(case: Case) -> None:
    for dtype in case.dtypes:
        inputs = as_dtype(case, dtype)
        expected = case.operator(*inputs)
        out = unwritten(expected)
        assert with_out(case)(*inputs, out=out) is out
        assert torch.equal(out, expected), dtype


@every_case
def test_an_empty_batch(case: Case) -> None:
    first, *rest = case.inputs()
    empty = tuple(t[:0] if t.dim() and t.shape[0] == first.shape[0] else t for t in (first, *rest))
    out = torch.empty_like(case.operator(*empty))
    assert with_out(case)(*empty, out=out) is out


@every_case
def test_writes_in_inference_mode_too(case: Case) -> None:
    normal = case.inputs()
    expected = case.operator(*normal)
    with torch.inference_mode():
        for inputs in (normal, case.inputs()):
            for out in (unwritten(expected), torch.empty_like(expected)):
                assert torch.equal(with_out(case)(*inputs, out=out), expected)


@every_case
def test_under_autocast_the_result_is_float32(case: Case) -> None:
    inputs = as_dtype(case, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = case.operator(*inputs)
        assert torch.equal(with_out(case)(*inputs, out=unwritten(expected)), expected)
    outside = case.operator(*inputs)
    if outside.dtype != expected.dtype:
        with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError, match="out has dtype bfloat16"):
            with_out(case)(*inputs, out=outside)


@every_case
def test_refuses_what_it_cannot_write_into(case: Case) -> None:
    inputs = case.inputs()
    expected = case.operator(*inputs)
    wrong = {
        "out must be a torch.Tensor, got list": [1.0],
        f"out has dtype float16; the result has {str(expected.dtype).removeprefix('torch.')}": expected.real.half(),
        r"out has shape \(.*\); the result has": torch.empty(*expected.shape, 1, dtype=expected.dtype),
        "out is on meta; the result is on cpu": torch.empty_like(expected, device="meta"),
        "out must be .*with strides": torch.empty(*expected.shape, 2, dtype=expected.dtype)[..., 0],
    }
    for message, out in wrong.items():
        with pytest.raises((TypeError, ValueError), match=rf"^{case.kernels[0]}: {message}"):
            with_out(case)(*inputs, out=out)


@every_case
def test_refuses_memory_of_an_input(case: Case) -> None:
    inputs = case.inputs()
    expected = case.operator(*inputs)
    for position, tensor in enumerate(inputs):
        memory = torch.empty(tensor.nbytes + expected.nbytes + 32, dtype=torch.uint8)

        def at(byte: int, like: Tensor, memory: Tensor = memory) -> Tensor:
            return memory[byte : byte + like.nbytes].view(like.dtype).view(like.shape)

        arguments = (*inputs[:position], at(0, tensor).copy_(tensor), *inputs[position + 1 :])
        end = -(-tensor.nbytes // 16) * 16
        assert torch.equal(with_out(case)(*arguments, out=at(end, expected)), expected)
        with pytest.raises(ValueError, match=f"^{case.kernels[0]}: out must not share memory with an input"):
            with_out(case)(*arguments, out=at(end - 16, expected))


@every_case
def test_refuses_to_write_while_a_gradient_is_recorded(case: Case) -> None:
    inputs = case.inputs()
    expected = case.operator(*inputs)
    message = f"^{case.kernels[0]}: out= does not support autograd"
    for position, tensor in enumerate(inputs):
        arguments = (*inputs[:position], tensor.clone().requires_grad_(), *inputs[position + 1 :])
        with pytest.raises(RuntimeError, match=message):
            with_out(case)(*arguments, out=torch.empty_like(expected))
    with pytest.raises(RuntimeError, match=message):
        with_out(case)(*inputs, out=torch.empty_like(expected).requires_grad_())
    with torch.no_grad():
        assert torch.equal(with_out(case)(*tracked(inputs), out=torch.empty_like(expected)), expected)


@every_case
def test_is_refused_under_vmap(case: Case) -> None:
    first, *rest = case.inputs()
    out = torch.empty_like(case.operator(first, *rest))
    with pytest.raises(RuntimeError, match=f"^{case.kernels[0]}: out= is not supported under torch.func transforms"):
        torch.func.vmap(lambda t: with_out(case)(t, *rest, out=out))(first[None])


@every_case
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiled_without_a_graph_break_equals_eager(case: Case, dynamic: bool) -> None:
    torch._dynamo.reset()

    def model(*tensors: Tensor) -> Tensor:
        *inputs, out = tensors
        return with_out(case)(*inputs, out=out).sin()

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    inputs = case.inputs()
    expected = case.operator(*inputs)
    out = unwritten(expected)
    assert torch.equal(compiled(*inputs, out), expected.sin())
    assert torch.equal(out, expected)


@every_case
def test_its_operator_is_among_those_that_opcheck_sees(case: Case) -> None:
    """``test_contract.test_opcheck`` runs over the dispatcher's calls."""
    operators = [operator for operator, _ in case.dispatcher(case.inputs())]
    (writing,) = (operator for operator in operators if operator._schema.is_mutable)
    assert writing._schema.name == f"cdifast::{case.kernels[0]}_out"
    assert writing._schema.returns == []


@every_case
def test_allocates_nothing_of_the_size_of_the_result(case: Case) -> None:
    inputs = repeated(case.inputs(), 64)
    out = torch.empty_like(case.operator(*inputs))
    with_out(case)(*inputs, out=out)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        with_out(case)(*inputs, out=out)
    assert largest_allocation(profiled) < out.nbytes
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        case.operator(*inputs)
    assert largest_allocation(profiled) >= out.nbytes  # that is, allocations do show


def largest_allocation(profiled: profile) -> int:
    """In bytes, also of what was freed again before the operator returned."""
    waiting = list(profiled.profiler.kineto_results.experimental_event_tree())
    sizes = [0]
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            sizes.append(event.extra_fields.alloc_size)
    return max(sizes)
