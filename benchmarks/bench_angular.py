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


def maps(size: int, count: int) -> Tensor:
    return unwrapped(size)[:count]


def indices(pairs: str, n_radial: int) -> tuple[Tensor, Tensor]:
    if pairs == "diagonal":
        return torch.arange(n_radial), torch.arange(n_radial)
    first, second = torch.triu_indices(n_radial, n_radial)
    return first, second


def defined(maps: Tensor, pairs: str = "all") -> Tensor:
    """The reference's functions, of the same pairs."""
    return reference.angular_correlation(maps, torch.stack(indices(pairs, maps.shape[-2]), dim=1))[0]


def ours(maps: Tensor, pairs: Pairs) -> Call:
    count = len(indices(pairs, maps.shape[-2])[0])
    out = torch.empty(len(maps), count, maps.shape[-1])
    return Call(lambda: ops.angular_correlation(maps, pairs=pairs, out=out), len(maps))


def scipy_fft(maps: Tensor, pairs: Pairs) -> Call:
    return peers.scipy_fft(maps, *indices(pairs, maps.shape[-2]))


def by_reference(maps: Tensor, pairs: Pairs) -> Call:
    return Call(lambda: defined(maps, pairs), len(maps))


@exact_result
def exact(size: int, pairs: str) -> Tensor:
    return defined(maps(size, 1).double(), pairs)


@exact_result
def exact_gradient() -> Tensor:
    return backward(defined, maps(224, 1).double()).run()


FORWARD: dict[str, Callable[..., Call]] = {"ours, out=": ours, "scipy.fft": scipy_fft, "reference": by_reference}
BACKWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "ours": ops.angular_correlation,
    "reference": defined,
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", ALL_PAIRS)
def test_all_pairs(name: str, size: int, entry: EntryTimer) -> None:
    build = FORWARD[name]
    entry("all pairs", name, lambda: build(maps(size, ALL_PAIRS[size]), "all"), exact(size, "all"), size=size)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", DIAGONAL)
def test_diagonal(name: str, size: int, entry: EntryTimer) -> None:
    build = FORWARD[name]
    entry("diagonal", name, lambda: build(maps(size, DIAGONAL[size]), "diagonal"), exact(size, "diagonal"), size=size)


@pytest.mark.parametrize("name", BACKWARD)
def test_backward(name: str, entry: EntryTimer) -> None:
    entry("all pairs, backward", name, lambda: backward(BACKWARD[name], maps(224, 4)), exact_gradient(), size=224)


@pytest.mark.ratio
def test_row(compare: RowTimer) -> None:
    few = maps(224, ALL_PAIRS[224])
    assert few.shape[-2:] == SHAPES[224]
    compare("angular", lambda: ours(few, "all"), {"scipy.fft": lambda: scipy_fft(few, "all")}, exact(224, "all"))
