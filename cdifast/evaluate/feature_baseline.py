"""What the classical baselines share: features, their scale, and one classifier a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .features import PatternFeatures, cells_with_data

Images = torch.Tensor | NDArray[np.floating]


class ScoringBaseline(Protocol):
    """A baseline that also ranks images, for precision-recall curves."""

    name: str

    def fit(self, inputs: Images, labels: ArrayLike) -> Self:
        """Learn from the training split: prepared images (N, 1, S, S) and labels (N, C) of 0 and 1."""
        ...

    def predict(self, inputs: Images) -> NDArray[np.uint8]:
        """Labels (N, C) of 0 and 1."""
        ...

    def scores(self, inputs: Images) -> NDArray[np.float64]:
        """A score (N, C), higher for images of the class; labels are predicted from `score_threshold` on."""
        ...


class FeatureBaseline(ABC):
    """Standardised features of patterns, and what is learnt from them."""

    name: str
    score_threshold: float = 0.5
    _scaler: Any = None

    def __init__(self, features: PatternFeatures | None, seed: int) -> None:
        self.features = features or PatternFeatures()
        self.seed = seed

    def fit(self, inputs: Images, labels: ArrayLike) -> Self:
        """Learn from the training split.

        Parameters
        ----------
        inputs
            Prepared images (N, 1, S, S).
        labels
            (N, C) of 0 and 1. A class that all images have, or none, is predicted as in training.

        Raises
        ------
        ValueError
            Another shape or length, or no images.
        ImportError
            scikit-learn is missing.
        """
        images, truth = torch.as_tensor(inputs), np.asarray(labels)
        if truth.ndim != 2 or truth.size == 0:
            raise ValueError(f"labels: found shape {truth.shape}, expected (N, C) with N and C at least 1")
        if len(images) != len(truth):
            raise ValueError(f"labels: found {len(truth)} rows for {len(images)} inputs")
        self._good = cells_with_data(images)
        raw = self.features(images, self._good).astype(np.float64)
        with scikit_learn():
            from sklearn.preprocessing import StandardScaler

        self._scaler = StandardScaler().fit(raw)
        self._learn(self._scaler.transform(raw), truth != 0)
        return self

    def scores(self, inputs: Images) -> NDArray[np.float64]:
        """A score for each class, (N, C) float64; labels are predicted from `score_threshold` on.

        Raises
        ------
        RuntimeError
            Called before `fit`.
        ValueError
            Images of another shape.
        """
        if self._scaler is None:
            raise RuntimeError(f"{self.name}: predict was called before fit")
        raw = self.features(torch.as_tensor(inputs), self._good).astype(np.float64)
        return self._score(self._scaler.transform(raw) if len(raw) else raw)

    def predict(self, inputs: Images) -> NDArray[np.uint8]:
        """Labels (N, C) of 0 and 1; raises as `scores`."""
        return (self.scores(inputs) >= self.score_threshold).astype(np.uint8)

    @abstractmethod
    def _learn(self, features: NDArray[np.float64], labels: NDArray[np.bool_]) -> None: ...

    @abstractmethod
    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]: ...


class OneVersusRest(FeatureBaseline):
    """A classifier of its own for each class that has both kinds of images in training."""

    # Scores of a class that no training image has, and that all have.
    _constants: tuple[float, float] = (0.0, 1.0)

    def _learn(self, features: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        self._models: list[Any] = [
            self._constants[int(column[0])] if column.all() or not column.any() else self._one(features, column)
            for column in labels.T
        ]

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = [
            np.full(len(features), model) if isinstance(model, float) else self._score_one(model, features)
            for model in self._models
        ]
        return np.stack(columns, axis=1)

    @abstractmethod
    def _one(self, features: NDArray[np.float64], column: NDArray[np.bool_]) -> Any: ...

    @abstractmethod
    def _score_one(self, model: Any, features: NDArray[np.float64]) -> NDArray[np.float64]: ...


@contextmanager
def scikit_learn() -> Iterator[None]:
    """Names the extra where scikit-learn is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError("classical baselines need scikit-learn: pip install 'cdifast[eval]'") from error
