"""How alike, by their labels, the shots are that an embedding places near each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdifast.data import Frames
from cdifast.evaluate import overlap
from cdifast.search import Index

from .held_out import simulated_labels

NEIGHBOURS = 13
"""As in P2, or one less than there are shots."""


@dataclass(frozen=True)
class Similarity:
    """Nearest shots of all shots, and what they have in common.

    Attributes
    ----------
    nearest
        (N, k) int64: the nearest others of each shot, nearest first.
    overlap
        P2's overlap: share of the labels that a shot has in common with its nearest, mean over each class's shots,
        then over the classes.
    chance
        The same for neighbours drawn at random, exactly.
    weights_sha256
        Fingerprint of the encoder.
    """

    nearest: NDArray[np.int64]
    overlap: float
    chance: float
    weights_sha256: str

    @classmethod
    def measure(cls, frames: Frames, embeddings: str | os.PathLike[str]) -> Similarity:
        """From simulated shots and the file of their embeddings."""
        labels = simulated_labels(frames)
        count = len(labels)
        k = min(NEIGHBOURS, count - 1)
        with Index(embeddings) as index:
            found = index.similar(np.arange(count), k)
            sha256 = index.weights_sha256
        # All as near as each other: the score is then the mean over all orders.
        chance = overlap(np.ones((count, count)), labels, k, "precomputed").macro
        distances = np.full((count, count), 2.0)
        np.put_along_axis(distances, found.indices, np.arange(k) / k, axis=1)
        return cls(found.indices, overlap(distances, labels, k, "precomputed").macro, chance, sha256)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary, without the neighbours themselves."""
        return {
            "neighbours": self.nearest.shape[1],
            "overlap": self.overlap,
            "chance": self.chance,
            "weights_sha256": self.weights_sha256,
        }
