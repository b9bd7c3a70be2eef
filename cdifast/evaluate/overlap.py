"""P2's Overlap: how many labels an image shares with its nearest neighbours (P2, "Training and evaluation")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distances import Metric, check_embeddings, distance_rows
from .json_number import json_number
from .neighbours import neighbour_weights
from .selection import check_evaluation_labels


@dataclass(frozen=True)
class Overlap:
    """Overlap scores.

    Attributes
    ----------
    macro : float
        Mean over the classes that have images: P2's Table 1.
    images_mean : float
        Mean over all images with at least one label, each counted once.
    classes : tuple of str
    per_class : tuple of float
        Mean over the images of each class (P2's Table 2); NaN for a class without images.
    support : tuple of int
        Images of each class.
    per_image : ndarray of float64, shape (N,)
        Each image's score; NaN for an image without labels.
    k : int
    metric : str
    """

    macro: float
    images_mean: float
    classes: tuple[str, ...]
    per_class: tuple[float, ...]
    support: tuple[int, ...]
    per_image: NDArray[np.float64]
    k: int
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary without `per_image`; NaN (not measurable) becomes None."""
        return {
            "macro": json_number(self.macro),
            "images_mean": json_number(self.images_mean),
            "k": self.k,
            "metric": self.metric,
            "per_class": {
                name: {"overlap": json_number(value), "support": support}
                for name, value, support in zip(self.classes, self.per_class, self.support, strict=True)
            },
        }


def overlap(
    embeddings: Any,
    labels: ArrayLike,
    k: int = 13,
    metric: Metric = "cosine",
    *,
    classes: Sequence[str] | None = None,
    block: int | None = None,
) -> Overlap:
    """P2's Overlap of an embedding, or of a matrix of distances.

    The overlap of two images with labels a and b is ``a.b / max(sum a, sum b)``. An image's score is the mean over its
    ``k`` nearest images, itself excluded; a class's score the mean over its images; the macro average over the classes
    is what P2's Table 1 gives. That it is this one, over the seven classes, shows in P2's random baseline: for
    neighbours drawn at random from the real labels (1261 images) it is 0.279, and P2 has 0.28; the mean over images
    would be 0.36, and with the super-classes' columns the macro average would be 0.34.

    Images at equal distance at the k-th place (direct measures have many) share the places that are left: the score is
    the mean over all orders of the tied ones, so that it does not depend on the order of the images. An image without
    labels has no score; as a neighbour it shares nothing.

    Parameters
    ----------
    embeddings : array_like or Tensor, shape (N, d)
        Or, with ``metric="precomputed"``, the distances ``(N, N)``; row i holds the distances from image i.
    labels : array_like, shape (N, C)
        0 or 1: for P2 its seven classes (`p2_selection`).
    k : int
        Neighbours, 1 to N - 1. P2: 13, 1 % of its images.
    metric : {"cosine", "euclidean", "correlation", "wasserstein", "precomputed"}
        See `pairwise_distances`.
    classes : sequence of str, optional
        Names of the columns; None: `P2_CLASSES` for seven.
    block : int, optional
        Rows of distances held at once; None: as many as 64 MB hold.

    Returns
    -------
    Overlap

    Raises
    ------
    ValueError
        Shapes that do not fit, k out of range, labels other than 0 and 1, NaN or infinity in an embedding.
    """
    count = check_embeddings(embeddings, metric)
    truth, names = check_evaluation_labels(labels, count, classes)
    sizes = truth.sum(axis=1)
    scores = np.full(count, math.nan)
    for start, distances in distance_rows(embeddings, metric, block):
        stop = start + len(distances)
        weights = neighbour_weights(distances, start, k)
        larger = np.maximum(sizes[start:stop, None], sizes)
        shared = (truth[start:stop] @ truth.T) / np.where(larger > 0, larger, 1)
        scores[start:stop] = (weights * shared).sum(axis=1) / k
    scores[sizes == 0] = math.nan
    per_class = tuple(float(scores[column > 0].mean()) if column.any() else math.nan for column in truth.T)
    measured = [value for value in per_class if not math.isnan(value)]
    return Overlap(
        float(np.mean(measured)) if measured else math.nan,
        float(np.nanmean(scores)) if measured else math.nan,
        names,
        per_class,
        tuple(int(total) for total in truth.sum(axis=0)),
        scores,
        k,
        metric,
    )
