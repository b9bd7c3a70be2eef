"""The trivial classifiers that every network has to beat.

Both have scikit-learn's `fit` and `predict`, so that baselines with features can stand beside them in one
table. They ignore the inputs but for their number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sized
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Baseline(Protocol):
    """What a baseline offers."""

    name: str

    def fit(self, inputs: Sized, labels: ArrayLike) -> Self:
        """Learn from the training split: inputs (N, ...) and labels (N, C) of 0 and 1."""
        ...

    def predict(self, inputs: Sized) -> NDArray[np.uint8]:
        """Labels (N, C) of 0 and 1 for the inputs (N, ...)."""
        ...


class _ConstantBaseline(ABC):
    """Predicts one row of labels for every image."""

    name: str
    _row: NDArray[np.uint8] | None = None

    def fit(self, inputs: Sized, labels: ArrayLike) -> Self:
        """Learn the row from the training labels (N, C), N > 0; `inputs` must be as long.

        Raises
        ------
        ValueError
            Labels of another shape, of another length than the inputs, or none.
        """
        array = np.asarray(labels)
        if array.ndim != 2 or array.size == 0:
            raise ValueError(f"labels: found shape {array.shape}, expected (N, C) with N and C at least 1")
        if len(inputs) != len(array):
            raise ValueError(f"labels: found {len(array)} rows for {len(inputs)} inputs")
        self._row = self._choose_row(array).astype(np.uint8)
        return self

    def predict(self, inputs: Sized) -> NDArray[np.uint8]:
        """Return the same labels for each input: (len(inputs), C) uint8.

        Raises
        ------
        RuntimeError
            Called before `fit`.
        """
        if self._row is None:
            raise RuntimeError(f"{self.name}: predict was called before fit")
        return np.tile(self._row, (len(inputs), 1))

    @abstractmethod
    def _choose_row(self, labels: NDArray[np.generic]) -> NDArray[np.generic]:
        """The labels to give every image."""


class AllNegative(_ConstantBaseline):
    """No class for any image: high pooled accuracy (most labels are 0), precision and recall 0 (P1, 3.2)."""

    name = "all-negative"

    def _choose_row(self, labels: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.zeros(labels.shape[1], np.uint8)


class Majority(_ConstantBaseline):
    """The training split's most frequent combination of labels for every image.

    Of equally frequent combinations, the first in lexicographic order. In the helium data that is
    Spherical/Oblate and Round, 5300 of 7264 images.
    """

    name = "majority"

    def _choose_row(self, labels: NDArray[np.generic]) -> NDArray[np.generic]:
        combinations, counts = np.unique(labels, axis=0, return_counts=True)
        return combinations[counts.argmax()]
