"""What :func:`cdifast.ops._checks.check_out` accepts as ``out=``, whatever the operator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cdifast.ops._checks import check_out, result_dtype


def check(out: object, *inputs: Tensor | None, in_place: Tensor | None = None) -> None:
    check_out("op", out, (4, 6), torch.float32, torch.device("cpu"), *inputs, in_place=in_place)


def test_accepts_the_exact_tensor_and_counts_the_write() -> None:
    out = torch.empty(4, 6)
    before = out._version
    check(out, torch.empty(4, 6), None)
    assert out._version == before + 1
    with torch.inference_mode():
        check(torch.empty(4, 6), torch.empty(3))


def test_refuses_another_type_dtype_shape_device_or_layout() -> None:
    with pytest.raises(TypeError, match=r"op: out must be a torch\.Tensor, got list"):
        check([1.0])
    with pytest.raises(TypeError, match="op: out has dtype float64; the result has float32"):
        check(torch.empty(4, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"op: out has shape \(6, 4\); the result has \(4, 6\)"):
        check(torch.empty(6, 4))
    with pytest.raises(ValueError, match="op: out is on meta; the result is on cpu"):
        check(torch.empty(4, 6, device="meta"))
    with pytest.raises(ValueError, match=r"op: out must be contiguous, got shape \(4, 6\) with strides \(1, 4\)"):
        check(torch.empty(6, 4).mT)


def test_an_elementwise_operator_takes_any_dense_layout_but_no_gaps() -> None:
    x = torch.empty(4, 6)
    check(torch.empty(6, 4).mT, x, in_place=x)
    for gaps in (torch.empty(4, 12)[:, ::2], torch.empty(1, 6).expand(4, 6), torch.empty(5, 7)[:4, :6]):
        with pytest.raises(ValueError, match="op: out must be dense"):
            check(gaps, x, in_place=x)


def test_refuses_to_write_where_an_input_lies() -> None:
    memory = torch.empty(60)
    out = memory[12:36].view(4, 6)
    for inside in (memory, memory[:13], memory[35:], memory[20:21], memory[::59]):
        with pytest.raises(ValueError, match="op: out must not share memory with an input"):
            check(out, torch.empty(3), inside)
    check(out, memory[:12], memory[36:], memory[20:20])
    with pytest.raises(ValueError, match="must not share memory"):
        check(out, out)
    check(out, out, in_place=out)
    shifted = memory[11:35].view(4, 6)
    with pytest.raises(ValueError, match="must not share memory with an input, unless it is the first input itself"):
        check(out, shifted, in_place=shifted)


def test_refuses_gradients_while_they_are_recorded() -> None:
    tracked = torch.empty(4, 6, requires_grad=True)
    for arguments in ((tracked,), (torch.empty(4, 6), tracked)):
        with pytest.raises(RuntimeError, match="op: out= does not support autograd"):
            check(*arguments)
        with torch.no_grad():
            check(*arguments)


def test_a_write_into_what_autograd_saved_is_noticed() -> None:
    saved = torch.ones(4, 6)
    value = (saved * torch.ones(4, 6, requires_grad=True)).sum()
    check(saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_the_dtype_of_a_result() -> None:
    for dtype in (torch.uint8, torch.int32, torch.float32):
        assert result_dtype(torch.empty(1, dtype=dtype)) == torch.float32
    half = torch.empty(1, dtype=torch.bfloat16)
    assert result_dtype(half) == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert result_dtype(half) == torch.float32
        assert result_dtype(half.double()) == torch.float64
        assert result_dtype(half.to("meta")) == torch.bfloat16
