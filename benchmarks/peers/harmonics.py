"""Angular Fourier coefficients of some orders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.call import Call, backward


def rfft_pick(unwrapped: Tensor, orders: Sequence[int]) -> Call:
    """All orders by FFT, and the wanted ones picked."""
    index = torch.tensor(orders)
    return Call(lambda: _pick(unwrapped, index), len(unwrapped))


def _pick(unwrapped: Tensor, index: Tensor) -> Tensor:
    return torch.fft.rfft(unwrapped, dim=-1)[..., index].mT / unwrapped.shape[-1]


def dft_matrix(n_angular: int, orders: Sequence[int]) -> Tensor:
    """Cosines and minus sines of the orders as columns, (n_angular, 2 len(orders)), over n_angular."""
    phase = 2 * math.pi / n_angular * torch.outer(torch.arange(n_angular).double(), torch.tensor(orders).double())
    return (torch.stack([phase.cos(), -phase.sin()], dim=-1).flatten(1) / n_angular).float()


def matrix_product(unwrapped: Tensor, orders: Sequence[int]) -> Call:
    """The wanted orders as one matrix product into a buffer."""
    matrix = dft_matrix(unwrapped.shape[-1], orders)
    out = torch.empty(*unwrapped.shape[:-1], matrix.shape[1])
    flat, flat_out = unwrapped.flatten(0, 1), out.flatten(0, 1)

    def run() -> Tensor:
        torch.mm(flat, matrix, out=flat_out)
        return out

    return Call(run, len(unwrapped), lambda found: torch.view_as_complex(found.unflatten(-1, (-1, 2))).mT)


def rfft_backward(unwrapped: Tensor, orders: Sequence[int]) -> Call:
    """Autograd through FFT and picking, of the sum of squared moduli."""
    index = torch.tensor(orders)
    return backward(lambda x: torch.view_as_real(_pick(x, index)), unwrapped)


def matrix_backward(unwrapped: Tensor, orders: Sequence[int]) -> Call:
    """Autograd through the matrix product."""
    matrix = dft_matrix(unwrapped.shape[-1], orders)
    return backward(lambda x: (x @ matrix).unflatten(-1, (-1, 2)).transpose(-3, -2), unwrapped)
