"""Data of paper 1's experiments: simulated or real frames, their labels, noise and correlation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cdifast.data import InputPreparation, MapPreparation, Preparation, open_frames, prepare_frames
from cdifast.jobs.shots import write_shots
from cdifast.labels import CLASSES
from cdifast.simulate.cxidb10 import SPECIES
from cdifast.simulate.helium import HOLE
from cdifast.simulate.noise import Level, NoiseBounds, add_uniform_noise

Dataset = Literal["helium", "helium-fine", "cxidb10"]
"""``helium-fine``: the helium shots on frames of more pixels than the network sees, by about as much as P1's (1035 to
224). Real helium frames are that already."""

Kind = Literal["images", "points", "maps"]
"""``images``: every pixel counts (`InputPreparation`). ``points``: between the four nearest pixels, as libraries reduce
images that do not average; what lies between is passed over."""

FINENESS: Final = 4
"""Pixels of ``helium-fine`` for one of the network's input, along each side."""

NOISE_SEED: Final = 5
"""Of the noise: the same noisy images for every network, as P1's, who made each set once."""


@dataclass(frozen=True)
class Inputs:
    """What networks and baselines are given.

    Attributes
    ----------
    images
        (N, 1, S, S) float32.
    labels
        (N, C) uint8.
    classes
        Names of the columns.
    preparation
        How the images were made.
    """

    images: torch.Tensor
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    preparation: Preparation


def simulated(folder: Path, preset: str, count: int, size: int, *, jobs: int = 1) -> Path:
    """The file of simulated shots, made or completed if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{preset}-{count}-{size}.cxi"
    if not path.is_file():
        write_shots(path, count, size=size, preset=preset, jobs=jobs, progress=True)
    return path


def frames_and_labels(
    paths: Sequence[Path | str], dataset: Dataset
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None, NDArray[np.uint8]]:
    """All frames (N, H, W), their mask and labels (N, C).

    Of `cxidb10` from real files, one pattern for each species in the order of `SPECIES`.
    """
    if dataset == "cxidb10" and len(paths) == len(SPECIES):
        parts, numbers = [], []
        for number, path in enumerate(paths):
            with open_frames(str(path)) as frames:
                parts.append(np.asarray(frames[:]))
                numbers += [number] * len(frames)
                mask = frames.mask
        return np.concatenate(parts), mask, np.eye(len(SPECIES), dtype=np.uint8)[numbers]
    with open_frames([str(path) for path in paths]) as frames:
        images, mask, labels = np.asarray(frames[:]), frames.mask, frames.labels
    if dataset == "cxidb10":
        with h5py.File(paths[0]) as file:
            labels = file["/entry_1/simulation_1/labels"][:]
    if labels is None:
        raise ValueError(f"{paths[0]}: has no labels to train on")
    return images, mask, np.asarray(labels, np.uint8)


def noisy(frames: NDArray[np.generic], level: Level) -> torch.Tensor:
    """Frames with P1's noise of a level, whose bounds are medians over the data set (section 5.3), float32."""
    # NoiseBounds measures in float64: a part of the images at a time would need its own median, so all at once.
    values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
    if level == "none":
        return values
    return add_uniform_noise(values, level, NoiseBounds.measure(values), seed=NOISE_SEED)


def preparation_for(kind: Kind, size: int, frame: int) -> Preparation:
    """How frames of `frame` pixels along each side become network input of `size`; maps begin at the edge of the
    helium detector's hole, where there is something to correlate."""
    if kind != "maps":
        return InputPreparation(size=size)
    return MapPreparation.covering((frame, frame), size, r_min=HOLE * (frame - 1) / 2)


def between_pixels(
    frames: torch.Tensor, mask: NDArray[np.bool_] | None, size: int
) -> tuple[torch.Tensor, NDArray[np.bool_]]:
    """Frames (N, H, W) and mask reduced to `size` by interpolating between four pixels: good ones alone, and good where
    they have half the weight at least."""

    def reduced(values: torch.Tensor) -> torch.Tensor:
        shape = (size, size)
        return functional.interpolate(values[:, None], shape, mode="bilinear", align_corners=True)[:, 0]

    good = torch.from_numpy(np.ones(frames.shape[1:], bool) if mask is None else mask).float()
    good = good.expand(len(frames), -1, -1) if good.dim() == 2 else good
    weight = reduced(good[:1] if mask is None or mask.ndim == 2 else good)
    values = torch.cat([reduced(part * valid) for part, valid in zip(frames.split(64), good.split(64), strict=True)])
    found = (weight >= 0.5).numpy()
    return values / weight.clamp(min=0.5), found if len(found) > 1 else found[0]


def network_inputs(
    paths: Sequence[Path | str], dataset: Dataset, kind: Kind = "images", level: Level = "none", size: int = 224
) -> Inputs:
    """Frames from files as the network sees them: noise first, then the map or the smaller image, as in P1."""
    frames, mask, labels = frames_and_labels(paths, dataset)
    preparation = preparation_for(kind, size, frames.shape[-1])
    values = noisy(frames, level)
    if kind == "points":
        values, mask = between_pixels(values, mask, size)
    images = prepare_frames(_Frames(values), mask, preparation)
    return Inputs(images, labels, SPECIES if dataset == "cxidb10" else CLASSES, preparation)


@dataclass(frozen=True)
class _Frames:
    """A tensor that is sliced like an array."""

    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice, /) -> NDArray[np.float32]:
        part: NDArray[np.float32] = self.values[index].numpy()
        return part
