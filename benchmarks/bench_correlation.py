"""Merged correlation map of zero lag and order 8: forward, masked, backward."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, RowTimer, backward, exact_result
from .inputs import FEW, SHAPES, SIZES, good_pixels, unwrapped
from .peers import correlation as peers


@functools.lru_cache(maxsize=2)
def weight(size: int) -> Tensor:
    """Validity weights of images with 1 % bad pixels, one map for all."""
    return ops.polar_resample(torch.zeros(1, size, size), *SHAPES[size], mask=good_pixels(size), return_weight=True)[1][
        0
    ].contiguous()


def ours(maps: Tensor, weight: Tensor | None = None) -> Call:
    out = torch.empty(*maps.shape[:-1], maps.shape[-2])
    return Call(lambda: ops.correlation_map(maps, weight=weight, out=out), len(maps))


def ours_backward(maps: Tensor) -> Call:
    return backward(ops.correlation_map, maps)


def by_reference(maps: Tensor, weight: Tensor | None = None) -> Call:
    maps = maps[: 4 * FEW]
    return Call(lambda: reference.correlation_map(maps, weight=weight)[0], len(maps))


def reference_backward(maps: Tensor) -> Call:
    return backward(lambda x: reference.correlation_map(x)[0], maps[: 4 * FEW])


@exact_result
def exact(size: int, weighted: bool = False) -> Tensor:
    maps = unwrapped(size)[:FEW].double()
    return reference.correlation_map(maps, weight=weight(size).double() if weighted else None)[0]


@exact_result
def exact_gradient(size: int) -> Tensor:
    return reference_backward(unwrapped(size)[:FEW].double()).run()


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "bmm + DFT bin": peers.bmm_dft_bin,
    "bmm + rfft": peers.bmm_rfft,
    "NumPy matmul + rfft": peers.numpy_rfft,
    "reference": by_reference,
}
WEIGHTED: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "bmm + DFT bin": peers.bmm_weighted,
    "reference": by_reference,
}
BACKWARD: dict[str, Callable[..., Call]] = {
    "ours": ours_backward,
    "bmm + DFT bin": peers.bmm_backward,
    "reference": reference_backward,
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("size", SIZES)
def test_forward(name: str, size: int, entry: EntryTimer) -> None:
    entry("forward", name, lambda: FORWARD[name](unwrapped(size)), exact(size), size=size)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("size", SIZES)
def test_weighted(name: str, size: int, entry: EntryTimer) -> None:
    entry("masked", name, lambda: WEIGHTED[name](unwrapped(size), weight(size)), exact(size, weighted=True), size=size)


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", SIZES)
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    entry("backward", name, lambda: BACKWARD[name](unwrapped(size)), exact_gradient(size), size=size)


@pytest.mark.ratio
def test_row(compare: RowTimer) -> None:
    maps = unwrapped(224)
    compare("correlation", lambda: ours(maps), {"bmm + DFT bin": lambda: peers.bmm_dft_bin(maps)}, exact(224))
