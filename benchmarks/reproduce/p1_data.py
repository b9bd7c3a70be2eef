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

from cdifast.data import InputPreparation, MapPreparation, Preparation, open_frames, prepare_frames
from cdifast.jobs.shots import write_shots
from cdifast.labels import CLASSES
from cdifast.simulate.cxidb10 import SPECIES
from cdifast.simulate.helium import HOLE
from cdifast.simulate.noise import Level, NoiseBounds, add_uniform_noise

Dataset = Literal["helium", "cxidb10"]
Kind = Literal["images", "maps"]

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
    if kind == "maps":
        return MapPreparation(size=size, n_angular=2 * size, r_min=HOLE * (frame - 1) / 2)
    return InputPreparation(size=size)


def network_inputs(
    paths: Sequence[Path | str], dataset: Dataset, kind: Kind = "images", level: Level = "none", size: int = 224
) -> Inputs:
    """Frames from files as the network sees them: noise first, then the map or the smaller image, as in P1."""
    frames, mask, labels = frames_and_labels(paths, dataset)
    preparation = preparation_for(kind, size, frames.shape[-1])
    images = prepare_frames(_Frames(noisy(frames, level)), mask, preparation)
    return Inputs(images, labels, CLASSES if dataset == "helium" else SPECIES, preparation)


@dataclass(frozen=True)
class _Frames:
    """A tensor that is sliced like an array."""

    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice, /) -> NDArray[np.float32]:
        part: NDArray[np.float32] = self.values[index].numpy()
        return part
