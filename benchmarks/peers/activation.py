"""Log activation: the formula in eager torch and compiled, and what is as fast as memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, MissingPeer, forward_backward
from benchmarks.native import LINE, library, on_all_threads


def sign_log1p(x: Tensor) -> Tensor:
    """The formula as one writes it: four passes over memory when run eagerly."""
    return 0.2 * torch.sign(x) * torch.log1p(math.e * torch.abs(x))


def copy(x: Tensor) -> Call:
    """The limit: each element read once and written once."""
    target = torch.empty_like(x)
    return Call(lambda: target.copy_(x), x.numel(), tolerance=None)


def bare_training(x: Tensor) -> Call:
    """The limit of forward and backward: x read and y written, x and a gradient read and a gradient written."""
    lines = library("streams")
    lines.copy_lines.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    lines.multiply_lines.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    gradient, y, grad_x = torch.ones_like(x), torch.empty_like(x), torch.empty_like(x)
    part = x.numel() // torch.get_num_threads() // LINE * LINE

    def at(tensor: Tensor, i: int) -> int:
        return tensor.data_ptr() + i * part * tensor.element_size()

    copy = on_all_threads(lambda i: lines.copy_lines(at(x, i), at(y, i), part))
    multiply = on_all_threads(lambda i: lines.multiply_lines(at(x, i), at(gradient, i), at(grad_x, i), part))

    def run() -> tuple[Tensor, Tensor]:
        copy()
        multiply()
        return y, grad_x

    return Call(run, x.numel(), tolerance=None)


def arcsinh(x: Tensor) -> Call:
    """NumPy's compression of the same range, another function: for its speed only."""
    array = x.numpy()
    out = np.empty_like(array)
    return Call(lambda: np.arcsinh(array, out=out), x.numel(), tolerance=None)


def eager(x: Tensor) -> Call:
    """Without gradient."""
    return Call(lambda: sign_log1p(x), x.numel())


def eager_training(x: Tensor) -> Call:
    """Forward and backward."""
    return forward_backward(sign_log1p, x)


def compiled(x: Tensor) -> Call:
    """Without gradient, one fused kernel by torch's inductor."""
    call = torch.compile(sign_log1p, dynamic=False)
    _compile(lambda: call(x))
    return Call(lambda: call(x), x.numel())


def compiled_training(x: Tensor) -> Call:
    """Forward and backward, a fused kernel each."""
    call = forward_backward(torch.compile(sign_log1p, dynamic=False), x)
    _compile(call.run)
    return call


def _compile(run: Callable[[], Tensor]) -> None:
    try:
        run()
    except torch._inductor.exc.InductorError as error:
        raise MissingPeer(f"torch.compile does not compile here: {str(error).splitlines()[0]}") from error
