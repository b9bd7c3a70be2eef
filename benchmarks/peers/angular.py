"""The full angular correlation, all lags, by FFT."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, peer_module
from benchmarks.native import LINE, library, on_all_threads


def scipy_fft(unwrapped: Tensor, first: Tensor, second: Tensor) -> Call:
    """SciPy in float32: rfft of the rings, products of the pairs ``(first, second)``, irfft of each pair.

    SciPy's workers are as many as the fixture sets (:mod:`benchmarks.threads`).
    """
    fft = peer_module("scipy.fft", "scipy")
    array = unwrapped.numpy()
    n_angular = array.shape[-1]
    one, two = first.numpy(), second.numpy()
    products = np.empty((*array.shape[:-2], len(one), n_angular // 2 + 1), np.complex64)
    factor = np.empty_like(products)

    def run() -> Any:
        spectrum = fft.rfft(array, axis=-1)
        np.take(spectrum.conj(), one, axis=-2, out=products, mode="clip")  # "raise" copies once more
        np.take(spectrum / n_angular, two, axis=-2, out=factor, mode="clip")
        np.multiply(products, factor, out=products)
        return fft.irfft(products, n=n_angular, axis=-1, overwrite_x=True)

    return Call(run, len(unwrapped))


def writing_alone(functions: int, n_angular: int, maps: int) -> Call:
    """What is left where nothing is computed: as many results written past the caches."""
    out = torch.empty(maps, functions, n_angular)
    part = out.numel() // torch.get_num_threads() // LINE * LINE
    fill = library("streams").fill_lines
    fill.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    return Call(on_all_threads(lambda i: fill(out.data_ptr() + 4 * i * part, part)), maps, tolerance=None)


def torch_fft(unwrapped: Tensor) -> Tensor:
    """All pairs i <= j in differentiable torch operators, for autograd."""
    n_angular = unwrapped.shape[-1]
    first, second = torch.triu_indices(unwrapped.shape[-2], unwrapped.shape[-2])
    spectrum = torch.fft.rfft(unwrapped)
    return torch.fft.irfft(spectrum[..., first, :].conj() * spectrum[..., second, :], n=n_angular) / n_angular
