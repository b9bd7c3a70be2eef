"""Multi-slice Fourier transforms written as a NumPy loop over slices: what a user without this package writes.

Each slice is transformed onto the projected-q grid, multiplied by the phase of its depth and added up; the pattern is
then interpolated to the pixels of the flat detector. One slice after the other, 64 to a particle, in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.call import Call, peer_module
from cdifast.simulate import FlatDetector

SLICES = 64
COLUMNS_PER_WAVELENGTH = 12
# A transform with the q step of the image's pixels is as long as 256 wavelengths: at a quarter of a wavelength a
# column, 1024 columns; finer ones would be better and slower.
FFT_COLUMNS_PER_WAVELENGTH = 4
TOLERANCE = 0.05


@dataclass(frozen=True)
class Droplet:
    """A spheroid: semi-axes along and across its axis, wavelength and absorption length in m, tilt and azimuth."""

    polar: float
    equatorial: float
    tilt: float
    azimuth: float
    wavelength: float
    absorption_length: float


def loop_of_products(droplets: list[Droplet], detector: FlatDetector) -> Call:
    """Each slice's transform as two matrix products, whose columns and rows are the q grid's."""
    return _call(droplets, detector, _products, COLUMNS_PER_WAVELENGTH)


def loop_of_ffts(droplets: list[Droplet], detector: FlatDetector) -> Call:
    """Each slice's transform as a padded FFT, of which the middle is kept."""
    return _call(droplets, detector, _ffts, FFT_COLUMNS_PER_WAVELENGTH)


Transform = Callable[[NDArray[np.float32]], NDArray[np.complex64]]


def _call(
    droplets: list[Droplet],
    detector: FlatDetector,
    make: Callable[[NDArray[np.float64], NDArray[np.float64]], Transform],
    columns: int,
) -> Call:
    ndimage = peer_module("scipy.ndimage", "scipy")
    # One more than half the pixels on either side, so that pixels at the rim have neighbours.
    step = 2 * math.sin(detector.max_angle) / detector.size
    grid = (np.arange(detector.size + 8) - (detector.size + 7) / 2) * step
    s_x, s_y = (part.numpy() for part in detector.direction_cosines())
    places = np.stack([part / step + (len(grid) - 1) / 2 for part in (s_y, s_x)])
    solid, lit = detector.solid_angle().numpy().astype(np.float32), detector.lit().numpy()
    transverse = np.minimum(grid[:, None] ** 2 + grid**2, 1)
    depth = 2 * np.pi * (1 - np.sqrt(1 - transverse))

    def run() -> NDArray[np.float32]:
        patterns = np.empty((len(droplets), detector.size, detector.size), dtype=np.float32)
        for pattern, droplet in zip(patterns, droplets, strict=True):
            field = _field(droplet, grid, depth, make, columns)
            pixels = ndimage.map_coordinates(field, places, order=3)
            pattern[:] = (pixels.real**2 + pixels.imag**2) * solid
            pattern[~lit] = 0
            pattern /= pattern.sum()
        return patterns

    return Call(run, len(droplets), torch.from_numpy, TOLERANCE)


def _field(
    droplet: Droplet,
    grid: NDArray[Any],
    depth: NDArray[Any],
    make: Callable[[NDArray[np.float64], NDArray[np.float64]], Transform],
    columns: int,
) -> NDArray[np.complex64]:
    """Field on the projected-q grid; lengths in wavelengths."""
    unit = droplet.wavelength
    n_x, n_y, n_z = _axis(droplet)
    a2, c2 = (droplet.equatorial / unit) ** 2, (droplet.polar / unit) ** 2
    extents = [math.sqrt(a2 * (1 - n**2) + c2 * n**2) for n in (n_x, n_y, n_z)]
    x, y = (np.arange(-math.ceil(e * columns), math.ceil(e * columns) + 1) / columns for e in extents[:2])
    lower, upper = _chords(x, y, (n_x, n_y, n_z), a2, c2)
    thickness = 2 * extents[2] / SLICES
    planes = (np.arange(SLICES) - (SLICES - 1) / 2) * thickness
    transform = make(x, grid), make(y, grid)
    turn = np.exp(1j * depth * thickness).astype(np.complex64)
    phase = np.exp(1j * depth * planes[0]).astype(np.complex64)
    loss = np.float32(unit / (2 * droplet.absorption_length))
    field = np.zeros((len(grid), len(grid)), dtype=np.complex64)
    for z in planes:
        bottom, top = np.float32(z - thickness / 2), np.float32(z + thickness / 2)
        matter = np.maximum(np.minimum(upper, top) - np.maximum(lower, bottom), 0)
        matter *= np.exp(-loss * np.maximum(np.minimum(upper, np.float32(z)) - lower, 0))
        spectrum = transform[1](np.ascontiguousarray(transform[0](matter).T)).T
        spectrum *= phase
        field += spectrum
        phase *= turn
    return field


def _axis(droplet: Droplet) -> tuple[float, float, float]:
    sine = math.sin(droplet.tilt)
    return sine * math.cos(droplet.azimuth), sine * math.sin(droplet.azimuth), math.cos(droplet.tilt)


def _chords(
    x: NDArray[np.float64], y: NDArray[np.float64], axis: tuple[float, float, float], a2: float, c2: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ends of the spheroid's chords along z; equal where there is none."""
    n_x, n_y, n_z = axis
    excess = 1 / c2 - 1 / a2
    across = n_x * x[None, :] + n_y * y[:, None]
    quadratic = 1 / a2 + excess * n_z**2
    half = excess * n_z * across
    constant = (x[None, :] ** 2 + y[:, None] ** 2) / a2 + excess * across**2 - 1
    root = np.sqrt(np.maximum(half**2 - quadratic * constant, 0))
    return ((-half - root) / quadratic).astype(np.float32), ((-half + root) / quadratic).astype(np.float32)


def _products(x: NDArray[np.float64], grid: NDArray[np.float64]) -> Transform:
    """Transform the last axis, by a product."""
    matrix = np.exp(-2j * np.pi * x[:, None] * grid).astype(np.complex64)
    return lambda slices: slices @ matrix


def _ffts(x: NDArray[np.float64], grid: NDArray[np.float64]) -> Transform:
    """Transform the last axis: padded to the grid's step, then shifted by the place of its first column and half a step
    of the grid.
    """
    pitch = x[1] - x[0]
    length = round(1 / (pitch * (grid[1] - grid[0])))
    shift = np.exp(-2j * np.pi * np.arange(len(x)) * pitch * grid[0]).astype(np.complex64)
    place = np.exp(-2j * np.pi * x[0] * grid).astype(np.complex64)

    def transform(slices: NDArray[np.float32]) -> NDArray[np.complex64]:
        spectrum = np.fft.fft(slices * shift, length, axis=-1)[..., : len(grid)]
        return (spectrum * place).astype(np.complex64)

    return transform
