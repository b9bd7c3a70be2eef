"""Merged correlation maps by matrix products: zero lag by bmm, the order's coefficient by a DFT bin or an FFT."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, backward

ORDER = 8


def dft_bin(n_angular: int) -> Tensor:
    """Cosine and sine of the order as columns, (n_angular, 2), over n_angular."""
    phase = 2 * math.pi * ORDER / n_angular * torch.arange(n_angular, dtype=torch.float64)
    return (torch.stack([phase.cos(), phase.sin()], dim=1) / n_angular).float()


def merge(unwrapped: Tensor) -> Tensor:
    """The map in differentiable torch operators, for autograd."""
    harmonic = unwrapped @ dft_bin(unwrapped.shape[-1])
    zero_lag = torch.bmm(unwrapped, unwrapped.mT) / unwrapped.shape[-1]
    return zero_lag.tril() + torch.bmm(harmonic, harmonic.mT).triu(1)


class BmmMap:
    """bmm and one DFT bin as a matrix product, every result in a buffer made before.

    The zero-lag product gets the angles' 1 / K as its factor, and the order's triangle is copied over it: no
    further pass over the map.
    """

    def __init__(self, count: int, n_radial: int, n_angular: int) -> None:
        self.bin = dft_bin(n_angular)
        self.scale = 1 / n_angular
        self.harmonic = torch.empty(count, n_radial, 2)
        self.zero_lag = torch.empty(count, n_radial, n_radial)
        self.ordered = torch.empty(count, n_radial, n_radial)
        self.upper = torch.ones(n_radial, n_radial, dtype=torch.bool).triu(1)

    def __call__(self, unwrapped: Tensor) -> Tensor:
        torch.matmul(unwrapped.view(-1, unwrapped.shape[-1]), self.bin, out=self.harmonic.view(-1, 2))
        torch.baddbmm(self.zero_lag, unwrapped, unwrapped.mT, beta=0, alpha=self.scale, out=self.zero_lag)
        torch.bmm(self.harmonic, self.harmonic.mT, out=self.ordered)
        return torch.where(self.upper, self.ordered, self.zero_lag, out=self.zero_lag)


def bmm_dft_bin(unwrapped: Tensor) -> Call:
    """torch at its best."""
    compute = BmmMap(*unwrapped.shape)
    return Call(lambda: compute(unwrapped), len(unwrapped))


def bmm_rfft(unwrapped: Tensor) -> Call:
    """The order from all orders by FFT."""
    n_angular = unwrapped.shape[-1]
    upper = torch.ones(unwrapped.shape[-2], unwrapped.shape[-2], dtype=torch.bool).triu(1)

    def run() -> Tensor:
        harmonic = torch.view_as_real(torch.fft.rfft(unwrapped, dim=-1)[..., ORDER] / n_angular)
        zero_lag = torch.bmm(unwrapped, unwrapped.mT) / n_angular
        return torch.where(upper, torch.bmm(harmonic, harmonic.mT), zero_lag)

    return Call(run, len(unwrapped))


def numpy_rfft(unwrapped: Tensor) -> Call:
    """NumPy's matrix product and FFT."""
    array = unwrapped.numpy()
    n_angular = array.shape[-1]
    upper = np.triu(np.ones((array.shape[-2],) * 2, dtype=bool), 1)

    def run() -> Any:
        harmonic = np.fft.rfft(array, axis=-1)[..., ORDER] / n_angular
        zero_lag = array @ np.swapaxes(array, -1, -2) / n_angular
        ordered = (harmonic.conj()[..., :, None] * harmonic[..., None, :]).real
        return np.where(upper, ordered, zero_lag)

    return Call(run, len(unwrapped))


def bmm_weighted(unwrapped: Tensor, weight: Tensor) -> Call:
    """Masked, with one weight map for all: the sums of weights are prepared, cells without weight not treated."""
    n_angular = unwrapped.shape[-1]
    inverse_pairs = 1 / (weight @ weight.mT)
    ring = weight.sum(-1, keepdim=True)
    mean_weight = weight / ring
    basis = dft_bin(n_angular) * n_angular
    constant = (weight / ring) @ basis  # the coefficient of a ring of ones
    upper = torch.ones(unwrapped.shape[-2], unwrapped.shape[-2], dtype=torch.bool).triu(1)
    weighted = torch.empty_like(unwrapped)

    def run() -> Tensor:
        torch.mul(unwrapped, weight, out=weighted)
        mean = (unwrapped * mean_weight).sum(-1, keepdim=True)
        harmonic = weighted @ basis / ring - mean * constant
        zero_lag = torch.bmm(weighted, weighted.mT) * inverse_pairs
        return torch.where(upper, torch.bmm(harmonic, harmonic.mT), zero_lag)

    return Call(run, len(unwrapped))


def bmm_backward(unwrapped: Tensor) -> Call:
    """Autograd through the composition."""
    return backward(merge, unwrapped)
