"""What every public operator checks of its arguments before it calls the dispatcher."""

from __future__ import annotations

import functools
import operator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


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
def _has_kernel(op: str, key: str) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"cdifast::{op}", key))


def check_backend(op: str, tensor: Tensor) -> None:
    """Refuse a tensor on a device that this build has no kernel for, and say how to get one."""
    device = tensor.device.type
    if torch.compiler.is_compiling() or device == "meta" or _has_kernel(op, device.upper()):
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
