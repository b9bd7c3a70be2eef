"""The full angular correlation at all lags: all pairs of rings, or each ring with itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference
from cdifast.ops.angular import Pairs

from .call import Call, EntryTimer, RowTimer, backward, exact_result
from .inputs import ALL_PAIRS, DIAGONAL, SHAPES, unwrapped
from .peers import angular as peers

# Pairs whose functions the error is taken from: the reference sums lag by lag, a minute for all pairs of 256 radii.
CHECKED = 300


def maps(size: int, count: int) -> Tensor:
    return unwrapped(size)[:count]


def indices(pairs: Pairs, n_radial: int) -> Tensor:
    """The pairs, (P, 2), in the order of the operator."""
    if pairs == "diagonal":
        return torch.arange(n_radial)[:, None].expand(-1, 2)
    return torch.triu_indices(n_radial, n_radial).T.contiguous()


def ours(maps: Tensor, pairs: Pairs) -> Call:
    count = len(indices(pairs, maps.shape[-2]))
    out = torch.empty(len(maps), count, maps.shape[-1])
    return Call(lambda: ops.angular_correlation(maps, pairs=pairs, out=out), len(maps))


def scipy_fft(maps: Tensor, pairs: Pairs) -> Call:
    first, second = indices(pairs, maps.shape[-2]).unbind(1)
    return peers.scipy_fft(maps, first, second)


def transform_alone(maps: Tensor, pairs: Pairs) -> Call:
    """What is left to a transform by MKL where the products of the spectra cost nothing: no peer, a measure of ours."""
    n_angular = maps.shape[-1]
    count = len(indices(pairs, maps.shape[-2]))
    products = torch.randn(len(maps), count, n_angular // 2 + 1, dtype=torch.complex64)
    out = torch.empty(len(maps), count, n_angular)
    return Call(lambda: torch.fft.irfft(products, n=n_angular, out=out), len(maps), tolerance=None)


def writing_alone(maps: Tensor, pairs: Pairs) -> Call:
    return peers.writing_alone(len(indices(pairs, maps.shape[-2])), maps.shape[-1], len(maps))


def by_reference(maps: Tensor, pairs: Pairs) -> Call:
    """One map."""
    maps, listed = maps[:1], indices(pairs, maps.shape[-2])
    return Call(lambda: reference.angular_correlation(maps, listed)[0], 1)


@exact_result
def exact(size: int, pairs: Pairs) -> Tensor:
    listed = indices(pairs, SHAPES[size][0])[:CHECKED]
    return reference.angular_correlation(maps(size, 1).double(), listed)[0]


@exact_result
def exact_gradient(size: int) -> Tensor:
    """By FFT in float64: the reference keeps a product for each lag and pair, gigabytes."""
    return backward(peers.torch_fft, maps(size, 1).double()).run()


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "scipy.fft": scipy_fft,
    "torch.fft.irfft alone": transform_alone,
    "the results' bytes without arithmetic": writing_alone,
    "reference": by_reference,
}
BACKWARD: dict[str, Callable[[Tensor], Tensor]] = {"ours": ops.angular_correlation, "torch.fft": peers.torch_fft}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", ALL_PAIRS)
def test_all_pairs(name: str, size: int, entry: EntryTimer) -> None:
    if name == "reference" and size > 128:
        pytest.skip("the reference sums lag by lag: seconds and gigabytes")
    build = FORWARD[name]
    entry("all pairs", name, lambda: build(maps(size, ALL_PAIRS[size]), "all"), exact(size, "all"), size=size)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", DIAGONAL)
def test_diagonal(name: str, size: int, entry: EntryTimer) -> None:
    build = FORWARD[name]
    entry("diagonal", name, lambda: build(maps(size, DIAGONAL[size]), "diagonal"), exact(size, "diagonal"), size=size)


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", [128, 224])
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    build = BACKWARD[name]
    few = maps(size, ALL_PAIRS[size])
    entry("all pairs, backward", name, lambda: backward(build, few), exact_gradient(size), size=size)


@pytest.mark.ratio
def test_row(compare: RowTimer) -> None:
    few = maps(224, ALL_PAIRS[224])
    compare("angular", lambda: ours(few, "all"), {"scipy.fft": lambda: scipy_fft(few, "all")}, exact(224, "all"))
