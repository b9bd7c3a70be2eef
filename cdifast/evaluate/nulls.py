"""Physics nulls: what of a shot does not matter should not move its embedding.

A null is a change of conditions that leaves the particle what it is: turned in the plane of the detector, a shifted
centre, fewer photons, its Friedel mate, another photon energy. The changed shots are sought among the original ones: a
method that looks past the change finds each one's own original first. `cdifast.evaluate.null_shots` simulates changed
shots exactly, `cdifast.evaluate.null_images` changes recorded images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .json_number import json_number


@dataclass(frozen=True)
class NullScore:
    """How a method stands one null.

    Attributes
    ----------
    recall_at_1 : float
        Share of the changed shots whose nearest original is their own. Chance: ``1 / N``.
    mean_reciprocal_rank : float
        Mean of 1 / rank of the own original among all N. Chance: `chance_rank`.
    relative_distance : float
        Median over the shots of: distance to the own original over the median distance to the other ones; 0 is a
        perfect null, 1 means that the change hides the shot. NaN where all others' median distance is 0.
    shots : int
        Changed shots M.
    originals : int
        N, among which each one's own is sought.
    """

    recall_at_1: float
    mean_reciprocal_rank: float
    relative_distance: float
    shots: int
    originals: int

    @property
    def chance_rank(self) -> float:
        """Mean reciprocal rank of distances without meaning: (1 + 1/2 + ... + 1/N) / N."""
        return float(_harmonic(np.array([self.originals]))[0]) / self.originals

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serialisable dictionary, chance beside; NaN becomes None."""
        content = {key: json_number(value) for key, value in asdict(self).items()}
        counts = {"shots": self.shots, "originals": self.originals}
        return {**content, **counts, "chance_recall": 1 / self.originals, "chance_rank": self.chance_rank}


def null_score(distances: ArrayLike) -> NullScore:
    """Score of one null.

    Originals as far as the own one share its places: all three numbers are means over the orders of the tied ones, so
    that an embedding that maps everything to one point scores as chance.

    Parameters
    ----------
    distances : array_like, shape (M, N), 1 <= M <= N, N >= 2
        Row i: from changed shot i to each original j; the own one is j = i. With M < N, the first M shots are sought
        among all N.

    Returns
    -------
    NullScore

    Raises
    ------
    ValueError
        Another shape, fewer than two originals, or NaN.
    """
    matrix = np.asarray(distances, np.float64)
    if matrix.ndim != 2 or not 1 <= matrix.shape[0] <= matrix.shape[1] or matrix.shape[1] < 2:
        raise ValueError(f"distances: found shape {matrix.shape}, expected (M, N) with M from 1 to N, N at least 2")
    if np.isnan(matrix).any():
        raise ValueError(f"distances: NaN in row {int(np.argwhere(np.isnan(matrix))[0, 0])}")
    shots, originals = matrix.shape
    own = matrix.diagonal().copy()
    nearer = (matrix < own[:, None]).sum(axis=1)
    tied = (matrix == own[:, None]).sum(axis=1)  # itself among them
    reciprocal = (_harmonic(nearer + tied) - _harmonic(nearer)) / tied
    others = matrix[~np.eye(shots, originals, dtype=bool)].reshape(shots, originals - 1)
    typical = np.median(others, axis=1)
    relative = own[typical > 0] / typical[typical > 0]
    return NullScore(
        float(((nearer == 0) / tied).mean()),
        float(reciprocal.mean()),
        float(np.median(relative)) if len(relative) else math.nan,
        shots,
        originals,
    )


def physics_nulls(distances: Callable[[Tensor], ArrayLike], changed: Mapping[str, Tensor]) -> dict[str, NullScore]:
    """Scores of a method under several nulls.

    Parameters
    ----------
    distances : callable
        From M changed images ``(M, 1, S, S)`` to their distances ``(M, N)`` from the N originals, the first M of which
        are theirs, in the same order: ``FittedEmbedding.distances``, or
        ``lambda images: 1 - ssim_matrix(images, originals)``.
    changed : mapping
        From the null's name to its images, prepared as the originals are.

    Returns
    -------
    dict
        From the null's name to its `NullScore`.

    Raises
    ------
    ValueError
        As `null_score`; the null is named.
    """
    scores = {}
    for name, images in changed.items():
        try:
            scores[name] = null_score(distances(images))
        except ValueError as error:
            raise ValueError(f"null {name!r}: {error}") from error
    return scores


def _harmonic(count: NDArray[Any]) -> NDArray[np.float64]:
    """1 + 1/2 + ... + 1/n for each n, 0 for 0."""
    most = int(count.max(initial=0))
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])[count]
