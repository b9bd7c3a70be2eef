"""Polar resampling, image by image or in a batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.call import Call, backward, peer_module

from .geometry import Polar, from_warp_polar

# A peer that returns the integers' own type rounds them: half a count of some hundred.
ROUNDED = 5e-3


def remap(images: Tensor, grid: Polar) -> Call:
    """OpenCV with float maps (its fixed-point maps are off by 8e-3), its own threads inside each image."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    map_x, map_y = grid.maps()
    arrays = images.numpy()
    out = np.empty((len(images), grid.n_radial, grid.n_angular), arrays.dtype)

    def run() -> Any:
        for array, target in zip(arrays, out, strict=True):
            cv2.remap(array, map_x, map_y, cv2.INTER_LINEAR, dst=target)
        return out

    return Call(run, len(images), tolerance=ROUNDED)


def remap_image_threads(images: Tensor, grid: Polar) -> Call:
    """The same with one thread an image, as many as torch uses: OpenCV releases Python's lock."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    map_x, map_y = grid.maps()
    arrays = images.numpy()
    out = np.empty((len(images), grid.n_radial, grid.n_angular), arrays.dtype)
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    parts = [slice(i * len(images) // threads, (i + 1) * len(images) // threads) for i in range(threads)]

    def some(part: slice) -> None:
        for array, target in zip(arrays[part], out[part], strict=True):
            cv2.remap(array, map_x, map_y, cv2.INTER_LINEAR, dst=target)

    def run() -> Any:
        cv2.setNumThreads(1)
        list(pool.map(some, parts))
        cv2.setNumThreads(threads)
        return out

    return Call(run, len(images), tolerance=ROUNDED)


def remap_one(image: Tensor, grid: Polar) -> Call:
    """One image."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    map_x, map_y = grid.maps()
    array = image.numpy()
    out = np.empty((grid.n_radial, grid.n_angular), array.dtype)
    return Call(lambda: cv2.remap(array, map_x, map_y, cv2.INTER_LINEAR, dst=out), 1)


def remap_centers(images: Tensor, grid: Polar, centers: Tensor) -> Call:
    """Every image its own centre: the maps are moved before each image."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    offset_y, offset_x = (offset.float().numpy() for offset in grid.offsets())
    map_x, map_y = np.empty_like(offset_x), np.empty_like(offset_y)
    arrays = images.numpy()
    pairs = [(np.float32(y), np.float32(x)) for y, x in centers.tolist()]
    out = np.empty((len(images), grid.n_radial, grid.n_angular), arrays.dtype)

    def run() -> Any:
        for array, (y, x), target in zip(arrays, pairs, out, strict=True):
            np.add(offset_x, x, out=map_x)
            np.add(offset_y, y, out=map_y)
            cv2.remap(array, map_x, map_y, cv2.INTER_LINEAR, dst=target)
        return out

    return Call(run, len(images))


def remap_masked(images: Tensor, grid: Polar, good: Tensor) -> Call:
    """Bad pixels set to 0, resampled, and divided by the resampled mask (which is prepared)."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    map_x, map_y = grid.maps()
    arrays = images.numpy()
    keep = good.numpy().astype(np.float32)
    weight = cv2.remap(keep, map_x, map_y, cv2.INTER_LINEAR)
    inverse = np.where(weight >= 0.5, 1 / np.maximum(weight, 0.5), 0).astype(np.float32)
    kept = np.empty_like(keep)
    out = np.empty((len(images), grid.n_radial, grid.n_angular), np.float32)

    def run() -> Any:
        for array, target in zip(arrays, out, strict=True):
            cv2.multiply(array, keep, dst=kept)
            cv2.remap(kept, map_x, map_y, cv2.INTER_LINEAR, dst=target)
            cv2.multiply(target, inverse, dst=target)
        return out

    return Call(run, len(images))


def warp_polar(images: Tensor, grid: Polar, centers: Tensor | None = None) -> Call:
    """OpenCV's own polar resampling; it computes its maps in every call."""
    cv2 = peer_module("cv2", "opencv-python-headless")
    arrays = images.numpy()
    middle = torch.full((len(images), 2), grid.center)
    points = [(x, y) for y, x in (middle if centers is None else centers).tolist()]
    shape = (grid.n_radial, grid.n_angular)  # width, height
    flags = cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    out = np.empty((len(images), grid.n_angular, grid.n_radial), arrays.dtype)

    def run() -> Any:
        for array, point, target in zip(arrays, points, out, strict=True):
            cv2.warpPolar(array, shape, point, grid.warp_radius, flags, dst=target)
        return out

    return Call(run, len(images), from_warp_polar, tolerance=ROUNDED)


def grid_sample(images: Tensor, grid: Polar, centers: Tensor | None = None) -> Call:
    """torch in a batch; integers are converted first, in the call."""
    if centers is None:
        positions = grid.grid().expand(len(images), -1, -1, -1)
    else:
        moved = ((centers - grid.center) / grid.center).flip(1).float()
        positions = grid.grid() + moved[:, None, None]
    return Call(
        lambda: torch.nn.functional.grid_sample(images.float()[:, None], positions, align_corners=True)[:, 0],
        len(images),
    )


def grid_sample_backward(images: Tensor, grid: Polar) -> Call:
    """Its gradient in the images."""
    positions = grid.grid().expand(len(images), -1, -1, -1)
    return backward(lambda x: torch.nn.functional.grid_sample(x[:, None], positions, align_corners=True)[:, 0], images)


def pyfai(images: Tensor, grid: Polar) -> Call:
    """Bins instead of samples: each pixel is counted to the one bin it lies in; empty bins are 0. No interpolation."""
    peer_module("pyFAI", "pyFAI")
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    pixel = 1e-4  # metres
    detector = Detector(pixel1=pixel, pixel2=pixel, max_shape=(grid.size, grid.size))
    poni = (grid.center + 0.5) * pixel
    # Bins lie round our samples: turned by half a bin, and from half a bin before the first radius on.
    integrator = AzimuthalIntegrator(
        dist=1.0, poni1=poni, poni2=poni, rot3=-np.pi / grid.n_angular, detector=detector, wavelength=1e-10
    )
    arrays = images.numpy()
    last = grid.r_max * pixel * 1e3  # millimetres
    half = last / (grid.n_radial - 1) / 2

    def run() -> Any:
        return np.stack(
            [
                integrator.integrate2d_ng(
                    array,
                    grid.n_radial,
                    grid.n_angular,
                    unit="r_mm",
                    method=("no", "csr", "cython"),
                    radial_range=(-half, last + half),
                    correctSolidAngle=False,
                ).intensity
                for array in arrays
            ]
        )

    return Call(run, len(images), _from_pyfai, tolerance=float("inf"))


def _from_pyfai(intensity: Any) -> Tensor:
    """From (image, chi, radius), chi clockwise from -180 degrees, to (image, radius, angle)."""
    n_angular = intensity.shape[1]
    return from_warp_polar(np.roll(intensity, n_angular // 2, axis=1))


def map_coordinates(images: Tensor, grid: Polar) -> Call:
    """SciPy, one thread."""
    ndimage = peer_module("scipy.ndimage", "scipy")
    map_x, map_y = grid.maps()
    positions = np.stack([map_y, map_x]).astype(np.float64)
    arrays = images.numpy()
    out = np.empty((len(images), grid.n_radial, grid.n_angular), np.float32)

    def run() -> Any:
        for array, target in zip(arrays, out, strict=True):
            ndimage.map_coordinates(array, positions, output=target, order=1, mode="constant")
        return out

    return Call(run, len(images))


def skimage_warp_polar(images: Tensor, grid: Polar) -> Call:
    """scikit-image, one thread."""
    transform = peer_module("skimage.transform", "scikit-image")
    arrays = images.numpy()
    middle = (grid.center, grid.center)
    shape = (grid.n_angular, grid.n_radial)

    def run() -> Any:
        return np.stack(
            [
                transform.warp_polar(
                    array, center=middle, radius=grid.warp_radius, output_shape=shape, order=1, preserve_range=True
                )
                for array in arrays
            ]
        )

    return Call(run, len(images), from_warp_polar)
