"""Polar resampling: forward from float32 and uint16, backward, own centres, masked, one image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdifast import ops, reference

from .call import Call, EntryTimer, RowTimer, backward, exact_result
from .inputs import DTYPES, FEW, SHAPES, SIZES, centers, frames, good_pixels
from .peers import polar as peers
from .peers.geometry import Polar


def grid_of(size: int) -> Polar:
    return Polar(size, *SHAPES[size])


def ours(images: Tensor, grid: Polar, center: Tensor | None = None, mask: Tensor | None = None) -> Call:
    out = torch.empty(*images.shape[:-2], grid.n_radial, grid.n_angular)

    def run() -> Tensor:
        return ops.polar_resample(images, grid.n_radial, grid.n_angular, center=center, mask=mask, out=out)

    return Call(run, len(images))


def ours_new(images: Tensor, grid: Polar) -> Call:
    return Call(lambda: ops.polar_resample(images, grid.n_radial, grid.n_angular), len(images))


def ours_one(image: Tensor, grid: Polar) -> Call:
    out = torch.empty(grid.n_radial, grid.n_angular)
    return Call(lambda: ops.polar_resample(image, grid.n_radial, grid.n_angular, out=out), 1)


def ours_backward(images: Tensor, grid: Polar) -> Call:
    return backward(lambda x: ops.polar_resample(x, grid.n_radial, grid.n_angular), images)


def few(images: Tensor) -> Tensor:
    """What the slow ones get."""
    return images[:FEW]


def by_reference(images: Tensor, grid: Polar) -> Call:
    images = few(images)
    return Call(lambda: reference.polar_resample(images, grid.n_radial, grid.n_angular)[0], len(images))


def reference_backward(images: Tensor, grid: Polar) -> Call:
    return backward(lambda x: reference.polar_resample(x, grid.n_radial, grid.n_angular)[0], few(images))


@exact_result
def exact(size: int, own_centers: bool = False, masked: bool = False) -> Tensor:
    """With own centres NaN (not compared) where a circle leaves the image: the peers mix in a border of zeros there."""
    found, weight = reference.polar_resample(
        few(frames(size)).double(),
        *SHAPES[size],
        center=few(centers(size)) if own_centers else None,
        mask=good_pixels(size) if masked else None,
    )
    return found.where(weight == 1, torch.nan) if own_centers else found


@exact_result
def exact_gradient(size: int) -> Tensor:
    return reference_backward(frames(size).double(), grid_of(size)).run()


FORWARD: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "ours, new tensor": ours_new,
    "cv2.remap": peers.remap,
    "cv2.remap, a thread an image": peers.remap_image_threads,
    "cv2.warpPolar": peers.warp_polar,
    "grid_sample": peers.grid_sample,
    "pyFAI (bins)": lambda images, grid: peers.pyfai(few(images), grid),
    "map_coordinates": lambda images, grid: peers.map_coordinates(few(images), grid),
    "skimage warp_polar": lambda images, grid: peers.skimage_warp_polar(few(images), grid),
    "reference": by_reference,
}
ONE_THREAD = ("map_coordinates", "skimage warp_polar")
BACKWARD: dict[str, Callable[..., Call]] = {
    "ours": ours_backward,
    "grid_sample": peers.grid_sample_backward,
    "reference": reference_backward,
}
OWN_CENTERS: dict[str, Callable[..., Call]] = {
    "ours, out=": ours,
    "cv2.remap": peers.remap_centers,
    "cv2.warpPolar": peers.warp_polar,
    "grid_sample": peers.grid_sample,
}
MASKED: dict[str, Callable[..., Call]] = {
    "ours, out=": lambda images, grid, mask: ours(images, grid, mask=mask),
    "cv2.remap": peers.remap_masked,
}
ONE_IMAGE: dict[str, Callable[..., Call]] = {"ours, out=": ours_one, "cv2.remap": peers.remap_one}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_forward(name: str, size: int, dtype: str, entry: EntryTimer, thread_count: int) -> None:
    if name in ONE_THREAD and thread_count > 1:
        pytest.skip("has one thread only")
    if name == "reference" and dtype != "float32":
        pytest.skip("the reference gets float32")
    entry(
        "forward", name, lambda: FORWARD[name](frames(size, dtype), grid_of(size)), exact(size), size=size, dtype=dtype
    )


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("size", SIZES)
def test_backward(name: str, size: int, entry: EntryTimer) -> None:
    entry("backward", name, lambda: BACKWARD[name](frames(size), grid_of(size)), exact_gradient(size), size=size)


@pytest.mark.parametrize("name", OWN_CENTERS)
def test_own_centers(name: str, entry: EntryTimer) -> None:
    entry(
        "forward, each image its own centre",
        name,
        lambda: OWN_CENTERS[name](frames(224), grid_of(224), centers(224)),
        exact(224, own_centers=True),
        size=224,
    )


@pytest.mark.parametrize("name", MASKED)
def test_masked(name: str, entry: EntryTimer) -> None:
    entry(
        "forward, 1 % bad pixels",
        name,
        lambda: MASKED[name](frames(224), grid_of(224), good_pixels(224)),
        exact(224, masked=True),
        size=224,
    )


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_one_image(name: str, entry: EntryTimer) -> None:
    entry("one image", name, lambda: ONE_IMAGE[name](frames(224)[0], grid_of(224)), exact(224)[0], size=224)


@pytest.mark.ratio
def test_row_224(compare: RowTimer) -> None:
    images, grid = frames(224), grid_of(224)
    remap = {
        "cv2.remap": lambda: peers.remap(images, grid),
        "cv2.remap, a thread an image": lambda: peers.remap_image_threads(images, grid),
    }
    compare("polar-224", lambda: ours(images, grid), remap, exact(224))


@pytest.mark.ratio
def test_row_1024(compare: RowTimer) -> None:
    images, grid = frames(1024), grid_of(1024)
    compare(
        "polar-1024",
        lambda: ours(images, grid),
        {"cv2.warpPolar": lambda: peers.warp_polar(images, grid)},
        exact(1024),
    )


@pytest.mark.ratio
def test_row_uint16(compare: RowTimer) -> None:
    grid = grid_of(224)
    from_float = {"ours from float32": lambda: ours(frames(224), grid)}
    compare("polar-uint16", lambda: ours(frames(224, "uint16"), grid), from_float, exact(224))


@pytest.mark.ratio
def test_row_backward(compare: RowTimer) -> None:
    images, grid = frames(224), grid_of(224)
    grid_sample = {"grid_sample": lambda: peers.grid_sample_backward(images, grid)}
    compare("polar-backward", lambda: ours_backward(images, grid), grid_sample, exact_gradient(224))


@pytest.mark.ratio
def test_row_one_image(compare: RowTimer) -> None:
    image, grid = frames(224)[0], grid_of(224)
    remap = {"cv2.remap": lambda: peers.remap_one(image, grid)}
    compare("polar-one-image", lambda: ours_one(image, grid), remap, exact(224)[0])
