"""The seven published pairs of real helium shots as an encoder sees them: does a shot find its own unwrapped view?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.reproduce.display import CLASS_OF_EXAMPLE, SIMULATED_SIZE
from cdifast.data import InputPreparation
from cdifast.data.p2_code import CROP, CROP_RADIUS, SIDE
from cdifast.data.prepare import prepare_frames
from cdifast.evaluate import pairwise_distances

_RADII: Final = (CROP_RADIUS[0] / (SIDE - 1), (SIDE - 1 - CROP_RADIUS[1]) / (SIDE - 1))
"""First and last radius of the published unwrapped views, as shares of the largest circle in a whole frame."""

_ANGLES: Final = (CROP / (SIDE - 1), (SIDE - 1 - CROP) / (SIDE - 1))
"""First and last angle, as shares of a turn."""


def read_pairs(path: Path, preparation: InputPreparation) -> tuple[Tensor, Tensor, list[str]]:
    """Both views of the seven shots, laid out as views of whole frames.

    The published detector views are the middle of the frames; around them is put what is not shown, as bad pixels. The
    unwrapped views lack the hole, the last radii and a third of the turn, which are 0 here, as bad pixels are.

    Returns
    -------
    detector : Tensor, shape (7, 1, S, S)
        Prepared for an encoder.
    unwrapped : Tensor, shape (7, 1, S, S)
        (radius, angle), with the same mean over what is known.
    classes : list of str
        One class of each shot.
    """
    with np.load(path) as file:
        detector, published = file["detector"], torch.from_numpy(file["unwrapped"])
        classes = [CLASS_OF_EXAMPLE[str(name)] for name in file["classes"]]
    margin = (SIMULATED_SIZE - detector.shape[1]) // 2
    whole = np.pad(detector, ((0, 0), (margin, margin), (margin, margin)))
    known = np.pad(np.ones(detector.shape[1:], bool), margin)
    maps = whole_unwrapped(published.mT, preparation.size)
    seen = maps > 0
    level = (maps.sum((1, 2)) / seen.sum((1, 2)))[:, None, None]
    return prepare_frames(whole, known, preparation), (maps * preparation.level / level)[:, None], classes


def whole_unwrapped(published: Tensor, size: int) -> Tensor:
    """Published unwrapped views (N, radius, angle) on the grid of a whole frame's map, (N, size, size); else 0."""
    radius = torch.arange(size) / (size - 1)
    angle = torch.arange(size) / size
    # From -1 to 1 over the published range, as grid_sample counts.
    row, column = (2 * (at - low) / (high - low) - 1 for at, (low, high) in ((radius, _RADII), (angle, _ANGLES)))
    grid = torch.stack(torch.meshgrid(row, column, indexing="ij")[::-1], dim=-1)
    inside = (grid.abs() <= 1).all(-1)
    sampled = functional.grid_sample(
        published[:, None], grid.expand(len(published), -1, -1, -1), align_corners=True, padding_mode="border"
    )[:, 0]
    return sampled * inside


def partner_ranks(embed: Callable[[Tensor], Any], detector: Tensor, unwrapped: Tensor) -> dict[str, Any]:
    """Where each shot's own unwrapped view stands among all of them, by cosine distance of embeddings, and vice versa.

    Returns
    -------
    dict
        ``detector_to_unwrapped``, ``unwrapped_to_detector``: ranks from 1, of each shot; ``mean_rank`` over both,
        ``chance`` of it, and ``p``: share of the pairings of seven with seven whose mean distance is no larger.
    """
    distances = pairwise_distances(np.asarray(embed(detector)), np.asarray(embed(unwrapped)), "cosine")
    return ranks_of_pairs(distances)


def ranks_of_pairs(distances: NDArray[np.float64]) -> dict[str, Any]:
    """`partner_ranks` of distances (n, n), pairs on the diagonal."""
    count = len(distances)
    own = np.diag(distances)
    forward = 1 + (distances < own[:, None]).sum(1)
    backward = 1 + (distances < own[None]).sum(0)
    sums = [sum(distances[i, j] for i, j in enumerate(pairing)) for pairing in itertools.permutations(range(count))]
    return {
        "detector_to_unwrapped": forward.tolist(),
        "unwrapped_to_detector": backward.tolist(),
        "mean_rank": float(np.concatenate([forward, backward]).mean()),
        "chance": (count + 1) / 2,
        "p": sum(total <= own.sum() + 1e-12 for total in sums) / math.factorial(count),
    }
