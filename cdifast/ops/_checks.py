"""What every public operator checks of its arguments before it calls the dispatcher."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version

# Where every operator has an autocast rule.
AUTOCAST_DEVICES = ("cpu", "cuda")


def check_tensor(op: str, name: str, value: Any, dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse what is not a tensor of one of ``dtypes``, naming operator and argument."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{op}: {name} must be a torch.Tensor, got {type(value).__name__}; "
            "NumPy and CuPy arrays convert without a copy with torch.from_dlpack(array)"
        )
    if value.dtype not in dtypes:
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"{op}: {name} has dtype {str(value.dtype).removeprefix('torch.')}; expected {expected}")


def check_size(op: str, name: str, value: Any) -> int:
    """A size as an int; refuses what is not a whole number of at least 1 (symbolic sizes of torch.compile pass)."""
    if not isinstance(value, torch.SymInt):
        try:
            size = operator.index(value)
        except TypeError:
            size = None
        if size is None or isinstance(value, bool):
            raise TypeError(f"{op}: {name} must be an int, got {type(value).__name__}")
        value = size
    if value < 1:
        raise ValueError(f"{op}: {name} must be at least 1, got {value}")
    return value


@functools.cache
def has_kernel(op: str, key: str) -> bool:
    """Whether an operator has a kernel for a dispatch key, "CPU" or "CUDA"."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"cdifast::{op}", key))


def check_backend(op: str, tensor: Tensor) -> None:
    """Refuse a tensor on a device that this build has no kernel for, and say how to get one."""
    device = tensor.device.type
    if torch.compiler.is_compiling() or device == "meta" or has_kernel(op, device.upper()):
        return
    from cdifast import _C

    info = _C.build_info()
    if device != "cuda":
        reason = "cdifast has kernels for CPU and CUDA only"
    elif info["cuda"] is None:
        reason = (
            f"this build of cdifast has no CUDA kernels ({info['why_no_cuda']}); "
            "install it again where nvcc is on PATH, with `pip install . -C cmake.define.CDIFAST_CUDA=ON`"
        )
    else:
        reason = f"cdifast {info['version']} has no CUDA kernel for this operator yet"
    raise RuntimeError(f"{op}: got a tensor on {tensor.device}, but {reason}. Move it with .cpu() to run it there.")


def refuse_forward_mode(op: str, *tensors: Tensor | None) -> None:
    """Raise under forward-mode differentiation (``torch.func.jvp``), which would silently give zeros.

    Operators registered with :func:`torch.library.register_autograd` have no forward-mode rule, and torch takes
    a missing rule of a custom operator for a zero tangent.
    """
    if torch.compiler.is_compiling():
        return
    for tensor in tensors:
        if tensor is not None and _has_tangent(tensor):
            raise NotImplementedError(
                f"{op}: forward-mode differentiation (torch.func.jvp, jacfwd) is not supported; "
                "use reverse mode (backward, torch.autograd.grad, torch.autograd.functional.jacobian)"
            )


def _has_tangent(tensor: Tensor) -> bool:
    if forward_ad._current_level < 0:
        return False
    return forward_ad.unpack_dual(tensor).tangent is not None


def result_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of what an operator makes of ``tensor``: its own if floating, else float32.

    Inside ``torch.autocast`` it is float32 for the half types too: every operator's autocast rule says so.
    """
    device = tensor.device.type
    autocast = device in AUTOCAST_DEVICES and torch.is_autocast_enabled(device)
    if tensor.dtype == torch.float64 or (tensor.is_floating_point() and not autocast):
        return tensor.dtype
    return torch.float32


def check_out(
    op: str,
    out: Any,
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    *inputs: Tensor | None,
    in_place: Tensor | None = None,
) -> None:
    """Refuse an ``out=`` that the operator cannot write its result into, and announce the write to autograd.

    Parameters
    ----------
    op : str
        The operator, for messages.
    out : Any
        What the caller gave; must be a dense tensor of exactly ``shape``, ``dtype`` and ``device``.
    shape, dtype, device
        Those of the result; :func:`result_dtype` knows about autocast.
    *inputs : Tensor or None
        Every tensor that the caller gave, ``in_place`` too. None of them may share memory with ``out``.
    in_place : Tensor, optional
        The input of an elementwise operator, if the operator is one: ``out`` may then lie exactly where this input
        does, and may be dense in any order of its dimensions. Otherwise ``out`` must be contiguous.

    Raises
    ------
    TypeError
        If ``out`` is no tensor, or of another dtype.
    ValueError
        If its shape, device or memory layout is wrong, or it overlaps an input.
    RuntimeError
        If grad mode is on and ``out`` or an input requires a gradient, or under ``torch.func.vmap``.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"{op}: out must be a torch.Tensor, got {type(out).__name__}")
    if out.dtype != dtype:
        found, expected = (str(d).removeprefix("torch.") for d in (out.dtype, dtype))
        raise TypeError(f"{op}: out has dtype {found}; the result has {expected}")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{op}: out has shape {tuple(out.shape)}; the result has {tuple(shape)}")
    if out.device != device:
        raise ValueError(f"{op}: out is on {out.device}; the result is on {device}")
    if not out.is_contiguous() and (in_place is None or not _is_dense(out)):
        needed = "contiguous" if in_place is None else "dense (each element once, no gaps)"
        raise ValueError(f"{op}: out must be {needed}, got shape {tuple(out.shape)} with strides {out.stride()}")
    given = [tensor for tensor in inputs if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (out, *given)):
        raise RuntimeError(
            f"{op}: out= does not support autograd, but an input or out requires a gradient; "
            "leave out= away, or call inside torch.no_grad()"
        )
    if torch.compiler.is_compiling():
        return
    for tensor in given:
        try:
            refused = _overlap(out, tensor) and not (tensor is in_place and _same_place(out, tensor))
        except RuntimeError as error:  # from data_ptr(): torch.func's tensors have no memory of their own
            raise RuntimeError(f"{op}: out= is not supported under torch.func transforms such as vmap") from error
        if refused:
            exception = "" if in_place is None else ", unless it is the first input itself"
            raise ValueError(f"{op}: out must not share memory with an input{exception}")
    # Operators of an extension do not count as writes by themselves; uncounted, autograd would not notice that a
    # tensor which it saved for a backward pass has changed.
    if not out.is_inference():
        increment_version(out)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the tensor is contiguous up to the order of its dimensions."""
    step = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _memory(tensor: Tensor) -> tuple[int, int] | None:
    """Addresses of the first byte and of the one after the last; None where there is no memory."""
    if tensor.is_meta or isinstance(tensor, FakeTensor) or tensor.numel() == 0:
        return None
    first = tensor.data_ptr()
    if tensor.is_contiguous():
        return first, first + tensor.nbytes
    elements = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + elements * tensor.element_size()


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the two ranges of memory meet, each from its tensor's first element to its last."""
    range_a, range_b = _memory(a), _memory(b)
    if range_a is None or range_b is None or a.device != b.device:
        return False
    return range_a[0] < range_b[1] and range_b[0] < range_a[1]


def _same_place(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
