"""Frames to correlation maps of 112 radii and 224 angles: fused, in two operators, and by the peers' composition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, RowTimer, backward, exact_result
from .inputs import DTYPES, FEW, FUSED_BATCH, FUSED_SHAPE, SIZES, frames, good_pixels
from .peers import fused as peers
from .peers.geometry import Polar

RADII, ANGLES = FUSED_SHAPE


def grid_of(size: int) -> Polar:
    return Polar(size, RADII, ANGLES)


def images(size: int, dtype: str = "float32") -> Tensor:
    return frames(size, dtype, FUSED_BATCH[size])


def ours(images: Tensor, grid: Polar, mask: Tensor | None = None) -> Call:
    out = torch.empty(len(images), RADII, RADII)
    return Call(lambda: ops.polar_correlation_map(images, RADII, ANGLES, mask=mask, out=out), len(images))


def ours_in_two(images: Tensor, grid: Polar, mask: Tensor | None = None) -> Call:
    unwrapped = torch.empty(len(images), RADII, ANGLES)
    out = torch.empty(len(images), RADII, RADII)

    def run() -> Tensor:
        if mask is None:
            return ops.correlation_map(ops.polar_resample(images, RADII, ANGLES, out=unwrapped), out=out)
        found, weight = ops.polar_resample(images, RADII, ANGLES, mask=mask, return_weight=True)
        return ops.correlation_map(found, weight=weight, out=out)

    return Call(run, len(images))


def by_reference(images: Tensor, grid: Polar, mask: Tensor | None = None) -> Call:
    images = images[:FEW].float()
    return Call(lambda: reference_maps(images, mask), len(images))


def reference_maps(images: Tensor, mask: Tensor | None = None) -> Tensor:
    return reference.polar_correlation_map(images, RADII, ANGLES, mask=mask)[0]


@exact_result
def exact(size: int, masked: bool = False) -> Tensor:
    return reference_maps(images(size)[:FEW].double(), good_pixels(size) if masked else None)


@exact_result
def exact_gradient(size: int) -> Tensor:
    return backward(reference_maps, images(size)[:FEW].double()).run()


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "ours, two operators": ours_in_two,
    "cv2.remap + bmm + DFT bin": peers.remap_bmm,
    "cv2.remap, a thread an image + bmm + DFT bin": peers.remap_image_threads_bmm,
    "grid_sample + bmm + DFT bin": peers.grid_sample_bmm,
    "reference": by_reference,
}
MASKED: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "ours, two operators": ours_in_two,
    "reference": by_reference,
}
BACKWARD: dict[str, Callable[..., Call]] = {
    "ours": lambda images, grid: backward(lambda x: ops.polar_correlation_map(x, RADII, ANGLES), images),
    "grid_sample + bmm + DFT bin": peers.grid_sample_bmm_backward,
    "reference": lambda images, grid: backward(reference_maps, images[:FEW]),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_forward(name: str, size: int, dtype: str, entry: EntryTimer) -> None:
    if name == "reference" and dtype != "float32":
        pytest.skip("the reference gets float32")
    entry(
        "forward", name, lambda: FORWARD[name](images(size, dtype), grid_of(size)), exact(size), size=size, dtype=dtype
    )


@pytest.mark.parametrize("name", MASKED)
def test_masked(name: str, entry: EntryTimer) -> None:
    entry(
        "forward, 1 % bad pixels",
        name,
        lambda: MASKED[name](images(512, "uint16"), grid_of(512), good_pixels(512)),
        exact(512, masked=True),
        size=512,
        dtype="uint16",
    )


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", SIZES)
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    entry("backward", name, lambda: BACKWARD[name](images(size), grid_of(size)), exact_gradient(size), size=size)


@pytest.mark.ratio
def test_row(compare: RowTimer) -> None:
    shots, grid = images(512, "uint16"), grid_of(512)
    compositions = {
        "cv2.remap + bmm + DFT bin": lambda: peers.remap_bmm(shots, grid),
        "cv2.remap, a thread an image + bmm + DFT bin": lambda: peers.remap_image_threads_bmm(shots, grid),
        "cv2.remap from float32 + bmm + DFT bin": lambda: peers.remap_float_bmm(shots, grid),
    }
    compare("fused", lambda: ours(shots, grid), compositions, exact(512))
