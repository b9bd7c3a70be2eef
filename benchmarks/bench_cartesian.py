"""From unwrapped maps back to images, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, backward, exact_result
from .inputs import DTYPES, FEW, SHAPES, SIZES, unwrapped
from .peers import cartesian as peers
from .peers.geometry import Polar


def grid_of(size: int) -> Polar:
    return Polar(size, *SHAPES[size])


def maps(size: int, dtype: str = "float32") -> Tensor:
    """Rounded to whole counts, so that both types hold the same."""
    return unwrapped(size).round().to(DTYPES[dtype])


def ours(maps: Tensor, grid: Polar) -> Call:
    out = torch.empty(len(maps), grid.size, grid.size)
    return Call(
        lambda: ops.cartesian_resample(maps, grid.size, grid.size, out=out),
        len(maps),
    )


def ours_backward(maps: Tensor, grid: Polar) -> Call:
    return backward(lambda x: ops.cartesian_resample(x, grid.size, grid.size), maps)


def by_reference(maps: Tensor, grid: Polar) -> Call:
    maps = maps[:FEW]
    return Call(
        lambda: reference.cartesian_resample(maps, grid.size, grid.size)[0],
        len(maps),
    )


def reference_backward(maps: Tensor, grid: Polar) -> Call:
    return backward(lambda x: reference.cartesian_resample(x, grid.size, grid.size)[0], maps[:FEW])


@exact_result
def exact(size: int) -> Tensor:
    """NaN (not compared) outside the last ring: the peers fade out there, we keep half a ring."""
    image, weight = reference.cartesian_resample(maps(size)[:FEW].double(), size, size)
    return image.where(weight == 1, torch.nan)


@exact_result
def exact_gradient(size: int) -> Tensor:
    """NaN in the last ring, which takes part in that."""
    gradient = reference_backward(maps(size).double(), grid_of(size)).run()
    gradient[:, -1] = torch.nan
    return gradient


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "cv2.warpPolar, WARP_INVERSE_MAP": peers.warp_polar_inverse,
    "grid_sample": peers.grid_sample,
    "reference": by_reference,
}
BACKWARD: dict[str, Callable[..., Call]] = {
    "ours": ours_backward,
    "grid_sample": peers.grid_sample_backward,
    "reference": reference_backward,
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_forward(name: str, size: int, dtype: str, entry: EntryTimer) -> None:
    if name == "reference" and dtype != "float32":
        pytest.skip("the reference gets float32")
    entry("forward", name, lambda: FORWARD[name](maps(size, dtype), grid_of(size)), exact(size), size=size, dtype=dtype)


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", SIZES)
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    entry("backward", name, lambda: BACKWARD[name](maps(size), grid_of(size)), exact_gradient(size), size=size)
