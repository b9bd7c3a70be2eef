"""Simulated shots: images, labels and the parameters behind them, each shot fixed by (seed, index) alone."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .detector import FlatDetector, photon_counts
from .helium import HELIUM
from .labelling import labels_for
from .multislice import far_field
from .particles import PARAMETERS, shape_of
from .preset import Preset

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in (HELIUM,)}
"""Experiments that :func:`shots` knows, by name."""


@dataclass(frozen=True)
class Shots:
    """A batch of ``N`` simulated shots.

    Attributes
    ----------
    images : Tensor
        ``(N, size, size)`` int32 photon counts, 0 to 65535.
    labels : Tensor
        ``(N, 11)`` uint8 in the order of :data:`cdifast.labels.CLASSES`.
    parameters : ndarray
        ``(N,)`` of :data:`PARAMETERS`: particle, orientation and photons, SI units.
    """

    images: Tensor
    labels: Tensor
    parameters: NDArray[Any]

    def __len__(self) -> int:
        return len(self.images)


def shots(
    count: int,
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    start: int = 0,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Shots:
    """Simulate diffraction images of single particles, with labels.

    Each shot is the multi-slice far field of one particle (:func:`far_field`) on a flat detector
    (:class:`FlatDetector`: projection, solid angle, hole), scaled to the shot's expected photons, plus an
    even background, as Poisson counts that saturate at 65535. The preset ``helium`` is described in
    :mod:`cdifast.simulate.helium`, the labels' rules in :func:`labels_for`.

    Shot ``k`` depends on ``(preset, size, seed, start + k)`` only: ``shots(100, seed=1)`` holds the very
    image of ``shots(1, seed=1, start=k)`` at ``k``. Parameters and labels are the same everywhere; counts are
    bit-equal on one device with one build and thread count of torch (elsewhere the expected photons differ in
    the last digits).

    Parameters
    ----------
    count : int
        Number of shots, 0 or more. All are held in memory: see :func:`iter_shots` for many.
    size : int
        Pixels along each side, at least 16.
    preset : str
        A key of :data:`PRESETS`.
    seed, start : int
        Non-negative: the random sequence, and the index of the first shot in it.
    device : torch.device or str
        Where to compute and to leave images and labels.
    dtype : torch.dtype
        float32 or float64: precision of the far field.

    Raises
    ------
    TypeError
        If a number is not an integer, or ``dtype`` is neither float32 nor float64.
    ValueError
        If a number is out of range or the preset is unknown.
    """
    count, start, seed = _natural("count", count), _natural("start", start), _natural("seed", seed)
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(sorted(PRESETS))}")
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, not {dtype}")
    experiment = PRESETS[preset]
    detector = experiment.detector(_natural("size", size))
    device = torch.device(device)

    images = torch.empty(count, size, size, dtype=torch.int32, device=device)
    parameters = np.empty(count, dtype=PARAMETERS)
    lit = detector.lit().to(device)
    for k in range(count):
        # One shot at a time: products of one shape round alike whatever else is in the batch, and each
        # particle gets grids of its own size.
        particle, counting = np.random.SeedSequence(seed, spawn_key=(start + k,)).spawn(2)
        parameters[k] = experiment.draw(np.random.default_rng(particle))
        parameters[k]["index"] = start + k
        expected = torch.where(lit, _expected_photons(parameters[k : k + 1], detector, lit, device, dtype), 0)
        generator = torch.Generator(device)
        generator.manual_seed(int(counting.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        images[k] = photon_counts(expected, generator)
    labels = torch.from_numpy(labels_for(parameters, detector.max_angle)).to(device)
    return Shots(images, labels, parameters)


def iter_shots(
    count: int,
    size: int = 256,
    preset: str = "helium",
    seed: int = 0,
    start: int = 0,
    *,
    batch: int = 64,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Shots]:
    """The shots of :func:`shots`, ``batch`` at a time: memory for one batch only.

    To resume after ``done`` shots, ask for ``count - done`` from ``start + done``: the same shots follow.

    Parameters
    ----------
    batch : int
        Shots in each item, the last one may hold fewer.
    count, size, preset, seed, start, device, dtype
        See :func:`shots`.

    Yields
    ------
    Shots
        In order of index.

    Raises
    ------
    TypeError, ValueError
        As :func:`shots`, at the call and not at the first item; also if ``batch`` is below 1.
    """
    if _natural("batch", batch) < 1:
        raise ValueError("batch must be at least 1")
    shots(0, size, preset, seed, start, device=device, dtype=dtype)  # every check but count's
    stop = _natural("start", start) + _natural("count", count)
    return (
        shots(min(batch, stop - first), size, preset, seed, first, device=device, dtype=dtype)
        for first in range(start, stop, batch)
    )


def _expected_photons(
    record: NDArray[Any], detector: FlatDetector, lit: Tensor, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Expected photons ``(size, size)`` of the one shot in ``record (1,)``; right on lit pixels only."""
    even = torch.full_like(lit, 1, dtype=dtype) * (float(record["background"][0]) / int(lit.sum()))
    if record["kind"][0] == b"empty":
        return even
    shape = shape_of(record, device)
    wavelength, absorption_length = (
        torch.tensor(record[name].tolist(), dtype=torch.float64, device=device)
        for name in ("wavelength", "absorption_length")
    )
    grid = detector.direction_grid(float(shape.reach() / wavelength)).to(device)
    field = far_field(shape, wavelength, grid, absorption_length=absorption_length, dtype=dtype)
    pattern = detector.resample(field)[0].abs().square() * detector.solid_angle().to(device, dtype)
    return even + pattern * (float(record["photons"][0]) / pattern[lit].sum())


def _natural(name: str, value: int) -> int:
    """``value`` as a non-negative int; ``name`` is for the error."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not a bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, not {number}")
    return number
