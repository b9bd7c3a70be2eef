"""Data of paper 2's experiments: the shots that are neither round nor empty, simulated or real, and their nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast._atomic import whole_file
from cdifast.data import InputPreparation, open_frames, prepare_frames
from cdifast.evaluate import null_shots, p2_selection
from cdifast.simulate import PRESETS, parameters, render
from cdifast.simulate.particles import classes_of

SEED: Final = 1
"""Of the simulated shots: others than those of `p1`, whose classifier is the supervised method here."""

MINMAX: Final = "minmax"
"""Preparation of P2: [0, 1], no logarithm."""


@dataclass(frozen=True)
class Shots:
    """P2's images and labels, and some of them seen again under other conditions.

    Attributes
    ----------
    frames
        (N, H, W).
    good
        (H, W) bool.
    labels
        (N, 7) uint8.
    changed
        From the null's name to the first M shots again, (M, H, W); empty for real data.
    """

    frames: NDArray[np.generic]
    good: NDArray[np.bool_] | None
    labels: NDArray[np.uint8]
    changed: dict[str, NDArray[np.generic]]

    def images(self, size: int, scaling: str = MINMAX) -> torch.Tensor:
        """All shots as a network sees them, (N, 1, size, size)."""
        return prepare_frames(self.frames, self.good, _preparation(size, scaling))

    def changed_images(self, size: int, scaling: str = MINMAX) -> dict[str, torch.Tensor]:
        """The changed shots, prepared as the originals are."""
        how = _preparation(size, scaling)
        return {null: prepare_frames(frames, self.good, how) for null, frames in self.changed.items()}


def simulated(work: Path, count: int, frame: int, nulls: int) -> Path:
    """The file of the shots out of `count` simulated ones that P2 keeps, made if need be.

    Only those are simulated; which they are is known from their parameters.
    """
    path = work / f"p2-{count}-{frame}-{nulls}.npz"
    if path.is_file():
        return path
    records = parameters(count, "helium", SEED)
    indices, labels = p2_selection(classes_of(records, len(PRESETS["helium"].classes)))
    chosen = records[indices]
    preset = PRESETS["helium"]
    changed = null_shots(chosen[:nulls], frame, "helium", SEED)
    arrays: dict[str, Any] = {f"null {name}": images.numpy().astype(np.uint16) for name, images in changed.items()}
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            frames=render(chosen, frame, "helium", SEED).numpy().astype(np.uint16),
            good=preset.response.good(preset.detector(frame)).numpy(),
            labels=labels,
            **arrays,
        )
    return path


def load(paths: Sequence[Path]) -> Shots:
    """Simulated shots from the file of `simulated`, or real ones from files with the eleven labels."""
    if len(paths) == 1 and paths[0].suffix == ".npz":
        with np.load(paths[0]) as file:
            changed = {name.removeprefix("null "): file[name] for name in file.files if name.startswith("null ")}
            return Shots(file["frames"], file["good"], file["labels"], changed)
    with open_frames([str(path) for path in paths]) as frames:
        if frames.labels is None:
            raise ValueError(f"{paths[0]}: has no labels to evaluate with")
        indices, labels = p2_selection(frames.labels)
        return Shots(np.asarray(frames[indices]), frames.mask, labels, {})


def _preparation(size: int, scaling: str) -> InputPreparation:
    return InputPreparation(size, scaling)  # type: ignore[arg-type]
