"""A calibration from files: dark level, noise and bad pixels of dark frames, and the background of non-hits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdifast.calibrate import (
    Background,
    BadPixelRules,
    Calibration,
    CommonMode,
    DarkResult,
    PixelStatistics,
    calibrate,
    dark_calibration,
    pixel_groups,
)
from cdifast.calibrate.background import Scaling
from cdifast.calibrate.common_mode import Method
from cdifast.calibrate.groups import Along
from cdifast.data import FrameError, Frames
from cdifast.data.hdf5 import hdf5_faults, is_hdf5, named_dataset, open_hdf5
from cdifast.data.masks import CXI_BITS

from .progress import progress_bar
from .rows import BATCH_BYTES, without_own_bad


def measure_darks(
    frames: Frames,
    *,
    rules: BadPixelRules | None = None,
    groups: Tensor | None = None,
    clip: float = 6.0,
    progress: bool = False,
) -> DarkResult:
    """Dark level, noise and bad pixels of dark frames.

    Parameters
    ----------
    frames : Frames
        Frames without beam. Pixels that its mask leaves out are bad, CXI bit 0x80.
    rules, groups
        As :func:`cdifast.calibrate.dark_calibration`.
    clip : float
        As :class:`cdifast.calibrate.PixelStatistics`.
    progress : bool
        Show a bar.

    Returns
    -------
    DarkResult

    Raises
    ------
    FrameError
        Frames that cannot be read, or only one.
    """
    if len(frames) < 2:
        raise FrameError("found 1 frame; noise needs at least 2 dark frames", path=frames.paths[0])
    statistics = PixelStatistics(frames.shape[1:], clip=clip)
    for _, images in batches(frames, np.arange(len(frames)), "dark frames", progress):
        statistics.add(images)
    result = dark_calibration(statistics.result(), rules=rules, groups=groups)
    if frames.mask is not None:
        masked = torch.from_numpy(~frames.mask).to(torch.int32) * CXI_BITS["bad"]
        result = result._replace(mask=result.mask | masked)
    return result


def measure_background(
    frames: Frames,
    calibration: Calibration,
    misses: NDArray[np.int64],
    *,
    scaling: Scaling = "least-squares",
    fit: Tensor | None = None,
    most: int = 4096,
    progress: bool = False,
) -> Background:
    """Stray light: the mean of calibrated frames that are no hits.

    Parameters
    ----------
    frames : Frames
        Raw frames.
    calibration : Calibration
        A background that it has already is left out.
    misses : ndarray of int64
        Indices of the frames that are no hits, as `read_misses` gives them.
    scaling, fit
        As :class:`cdifast.calibrate.Background`.
    most : int
        Read no more than these, evenly spread.
    progress : bool
        Show a bar.

    Raises
    ------
    FrameError
        There are fewer than 16 such frames, or frames cannot be read.
    """
    if len(misses) < 16:
        raise FrameError(
            f"has {len(misses)} frames that are no hits; a background needs at least 16", path=frames.paths[0]
        )
    plain = Calibration(
        dark=calibration.dark,
        gain=calibration.gain,
        mask=calibration.mask,
        saturation=calibration.saturation,
        common_mode=calibration.common_mode,
        shape=calibration.shape,
    )
    chosen = misses[:: max(1, -(-len(misses) // most))]
    statistics = PixelStatistics(frames.shape[1:], photons=calibration.gain is not None)
    for _, images in batches(frames, chosen, "background", progress):
        statistics.add(*calibrate(images, plain))
    return Background(statistics.result().mean.float(), scaling, fit)


def read_misses(path: str | os.PathLike[str], frames: Frames) -> NDArray[np.int64]:
    """Indices of the frames that a file of `write_hits` calls no hits.

    Raises
    ------
    FrameError
        It is no such file, or was made for other frames.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file (given as hits)")
    name = "/entry_1/hits/hit"
    if path.is_dir() or not is_hdf5(path):
        raise FrameError("is no HDF5 file; expected the output of `cdifast hits`", path=path)
    with hdf5_faults(path, name), open_hdf5(path) as file:
        hit = named_dataset(file, path, name)[()]
        index = named_dataset(file, path, "/entry_1/events/index")[()]
    if not np.array_equal(index, frames.events["index"]):
        raise FrameError(
            f"holds {len(hit)} rows of other frames; expected one for each of these {len(frames)}, in their order",
            path=path,
            dataset=name,
        )
    return np.flatnonzero(hit == 0)


def dark_file_calibration(
    frames: Frames,
    *,
    gain: float | NDArray[Any] | None = None,
    saturation: float | None = None,
    along: Along | None = None,
    tile: tuple[int, int] | None = None,
    method: Method = "mode",
    progress: bool = False,
) -> tuple[Calibration, DarkResult]:
    """A calibration from dark frames of a detector of equal tiles.

    Parameters
    ----------
    frames : Frames
        Frames without beam; pixels that its mask leaves out are bad.
    gain, saturation
        As :class:`cdifast.calibrate.Calibration`.
    along : {"frame", "tile", "row", "column"}, optional
        What shares a common mode (:func:`cdifast.calibrate.pixel_groups`). Default: no common mode.
    tile : (int, int), optional
        Height and width of a tile in pixels. Pixels are compared with those of their tile to find bad ones.
    method : {"mode", "median"}
        As :class:`cdifast.calibrate.CommonMode`. Of the dark frames themselves no common mode is taken off: it is part
        of their noise.
    progress : bool
        Show a bar.

    Raises
    ------
    FrameError, ValueError
        As `measure_darks`, `Calibration` and `pixel_groups`.
    """
    shape = frames.shape[1:]
    tiles = None if tile is None else pixel_groups(shape, "tile", tile)
    mode = None if along is None else CommonMode(pixel_groups(shape, along, tile), method)
    result = measure_darks(frames, groups=tiles, progress=progress)
    return (
        Calibration(
            dark=result.dark,
            gain=gain,  # type: ignore[arg-type]  # numbers and arrays are converted
            mask=result.mask,
            noise=result.noise,
            saturation=saturation,
            common_mode=mode,
        ),
        result,
    )


def batches(
    frames: Frames, indices: NDArray[np.int64], description: str, progress: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Indices and frames, 64 MiB at a time into one buffer; NaN where a frame's own mask calls it bad."""
    _, height, width = frames.shape
    size = min(len(indices), max(1, BATCH_BYTES // (height * width * frames.dtype.itemsize)))
    buffer = np.empty((size, height, width), dtype=frames.dtype)
    report: Callable[[int], None]
    with progress_bar(description, len(indices), show=progress) as report:
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            images = frames.read(part, out=buffer[: len(part)])
            own = frames.read_mask(part, images=images) if frames.masks_differ else None
            yield part, without_own_bad(images, own)
            report(start + len(part))
