"""The held-out shots of a training run: what they are, what the network says, and how it compares."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cdifast.data import Frames
from cdifast.evaluate import AllNegative, Majority, labels_from_probabilities
from cdifast.train import TrainResult

from .comparison import Comparison, compare


@dataclass(frozen=True)
class HeldOut:
    """The held-out shots of a training run.

    Attributes
    ----------
    indices
        Their places in the file, (N,).
    labels
        Their true labels, (N, C).
    train_labels
        True labels of the training split, from which the baselines learn.
    probabilities
        The network's, (N, C) float32.
    predicted
        The labels that follow by the thresholds on the network's card, (N, C).
    classes
        Names of the C columns.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    probabilities: torch.Tensor
    predicted: NDArray[np.uint8]
    classes: tuple[str, ...]

    @classmethod
    def make(cls, frames: Frames, trained: TrainResult, probabilities: torch.Tensor) -> HeldOut:
        """From all frames, the training, and the network's probabilities for its validation split (N, C)."""
        labels, split = simulated_labels(frames), trained.split
        predicted = labels_from_probabilities(probabilities, trained.card.thresholds)
        return cls(
            split.validation,
            labels[split.validation],
            labels[split.train],
            probabilities,
            predicted,
            trained.card.classes,
        )

    def compare(self, seed: int) -> Comparison:
        """The network beside the trivial classifiers fitted to the training split; `seed` is the bootstrap's."""
        baselines = {
            baseline.name: baseline.fit(self.train_labels, self.train_labels).predict(self.labels)
            for baseline in (AllNegative(), Majority())
        }
        return compare(self.labels, self.predicted, baselines, self.classes, seed=seed)

    def wrong(self) -> NDArray[np.int64]:
        """Rows with at least one wrong label, the highest cross-entropy first."""
        truth = torch.from_numpy(self.labels).to(self.probabilities.dtype)
        loss = functional.binary_cross_entropy(self.probabilities, truth, reduction="none").mean(dim=1).numpy()
        rows = np.flatnonzero((self.predicted != self.labels).any(axis=1))
        return rows[np.argsort(-loss[rows], kind="stable")]

    def to_csv(self) -> str:
        """One line a shot: its index in the file, true labels, probabilities (nine digits: float32 exactly)."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["shot", *(f"true {name}" for name in self.classes), *self.classes])
        for index, truth, values in zip(self.indices, self.labels, self.probabilities.tolist(), strict=True):
            writer.writerow([index, *truth, *(f"{value:.9g}" for value in values)])
        return table.getvalue()


def simulated_labels(frames: Frames) -> NDArray[np.uint8]:
    """The labels (N, C) of simulated shots, which always have some; a ValueError for other files."""
    if frames.labels is None:
        raise ValueError(f"{frames.paths[0]}: has no labels, so it is not the file that the quickstart simulated")
    return frames.labels
