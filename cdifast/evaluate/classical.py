"""Classical classifiers that a network has to beat: the field's two earlier ways, and a linear model.

P1 compares with a support-vector machine (Bobkov et al., J. Synchrotron Rad. 22, 1345, 2015) and with spectral
clustering (Yoon et al., Opt. Express 19, 16542, 2011). Neither is published as code; these follow their ideas on the
features of `PatternFeatures`, and are not copies. scikit-learn computes (``pip install 'cdifast[eval]'``).

All take prepared images (N, 1, S, S), as the network does, with labels (N, C); cells that are 0 in every training image
count as masked. Same seed, same result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .feature_baseline import FeatureBaseline, OneVersusRest, scikit_learn
from .features import PatternFeatures


class SupportVectorMachine(OneVersusRest):
    """A support-vector machine with Gaussian kernel for each class (after Bobkov et al. 2015, P1's reference).

    Scores are signed distances from the decision boundary (no probabilities), labels are theirs from 0 on.

    Parameters
    ----------
    features
        Default: profile and amplitudes.
    balanced
        Weigh rare classes up (``class_weight="balanced"``): more is found of them, with more false alarms.
    cs
        Values of the cost C, ascending. Of several, cross-validation takes the one with the best F1, of equally good
        ones the lowest; a class with fewer training images than `folds` takes the middle one.
    folds
        Of the cross-validation.
    seed
        Of its shuffling.
    """

    name = "support-vector machine"
    score_threshold = 0.0
    _constants = (-1.0, 1.0)

    def __init__(
        self,
        features: PatternFeatures | None = None,
        *,
        balanced: bool = False,
        cs: Sequence[float] = (1.0, 10.0, 100.0),
        folds: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(features, seed)
        if not cs or any(c <= 0 for c in cs):
            raise ValueError(f"cs: found {tuple(cs)}, expected at least one positive number")
        self.balanced, self.cs, self.folds = balanced, tuple(sorted(cs)), folds

    def _one(self, features: NDArray[np.float64], column: NDArray[np.bool_]) -> Any:
        with scikit_learn():
            from sklearn.model_selection import GridSearchCV, StratifiedKFold
            from sklearn.svm import SVC

        machine = SVC(C=self.cs[len(self.cs) // 2], class_weight="balanced" if self.balanced else None)
        if len(self.cs) == 1 or min(column.sum(), (~column).sum()) < self.folds:
            return machine.fit(features, column)
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        return GridSearchCV(machine, {"C": list(self.cs)}, scoring="f1", cv=folds).fit(features, column)

    def _score_one(self, model: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(model.decision_function(features), np.float64) if len(features) else np.empty(0)


class ProfileRegression(OneVersusRest):
    """Logistic regression on the log radial profile, for each class; scores are probabilities.

    What the rings' brightness alone tells: it cannot see any angular structure.

    Parameters
    ----------
    features
        Default: the profile of 24 rings, without amplitudes.
    balanced
        As for `SupportVectorMachine`.
    c
        Inverse strength of the L2 penalty.
    """

    name = "logistic regression"

    def __init__(self, features: PatternFeatures | None = None, *, balanced: bool = False, c: float = 1.0) -> None:
        super().__init__(features or PatternFeatures(orders=()), seed=0)
        self.balanced, self.c = balanced, c

    def _one(self, features: NDArray[np.float64], column: NDArray[np.bool_]) -> Any:
        with scikit_learn():
            from sklearn.linear_model import LogisticRegression

        weights = "balanced" if self.balanced else None
        return LogisticRegression(C=self.c, class_weight=weights, max_iter=2000).fit(features, column)

    def _score_one(self, model: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(model.predict_proba(features)[:, 1], np.float64) if len(features) else np.empty(0)


class SpectralClusters(FeatureBaseline):
    """Clusters found without labels, then named by them (after Yoon et al. 2011).

    The training patterns are parted by spectral clustering of their nearest-neighbour graph, which sees no labels.
    Each cluster then has a score for each class: the share of its training images that belong to it; it gets the
    labels that most of them have. A new pattern belongs to the cluster that most of its nearest training patterns
    belong to (of equally frequent ones the first): spectral clustering itself has no rule for patterns that it has
    not seen.

    Parameters
    ----------
    features
        Default: profile and amplitudes.
    clusters
        At most so many; a tenth of the training images where that is less, at least 2.
    neighbours
        Of each pattern, in the graph and for new patterns.
    seed
        Of the eigensolver's start.
    """

    name = "spectral clustering"

    def __init__(
        self, features: PatternFeatures | None = None, *, clusters: int = 32, neighbours: int = 10, seed: int = 0
    ) -> None:
        super().__init__(features, seed)
        for name, value, least in (("clusters", clusters, 2), ("neighbours", neighbours, 1)):
            if value < least:
                raise ValueError(f"{name}: found {value}, expected at least {least}")
        self.clusters, self.neighbours = clusters, neighbours

    def _learn(self, features: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        with scikit_learn():
            from sklearn.cluster import SpectralClustering
            from sklearn.neighbors import KNeighborsClassifier

        count = len(features)
        parts = min(self.clusters, max(2, math.ceil(count / 10)))
        neighbours = min(self.neighbours, count)
        if count <= parts + 1:
            members = np.zeros(count, np.int64)  # too few to part
        else:
            with warnings.catch_warnings():
                # Patterns that share no neighbour with others are a cluster of their own: what is wanted.
                warnings.filterwarnings("ignore", message="Graph is not fully connected")
                members = SpectralClustering(
                    parts,
                    affinity="nearest_neighbors",
                    n_neighbors=neighbours,
                    assign_labels="cluster_qr",
                    random_state=self.seed,
                ).fit_predict(features)
        self._nearest = KNeighborsClassifier(neighbours).fit(features, members)
        shares = [labels[members == k].mean(axis=0) for k in self._nearest.classes_]
        self._shares = dict(zip(self._nearest.classes_.tolist(), shares, strict=True))
        self._classes = labels.shape[1]

    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(features):
            return np.empty((0, self._classes))
        return np.stack([self._shares[k] for k in self._nearest.predict(features).tolist()])
