"""The keypoint distance (SIFT with the ratio test), a direct measure of P2's Table 1.

Lowe, ICCV 1999 (P2's reference); keypoints by scikit-image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .local_windows import check_images

Descriptors = NDArray[np.float32]
"""(keypoints, 128), each of length 1 (or 0)."""

MAX_RATIO = 0.8
"""Lowe's bound of the nearest descriptor's distance over the second nearest one's."""


def sift_descriptors(images: Any, *, progress: Callable[[int, int], None] | None = None) -> list[Descriptors]:
    """SIFT descriptors of each image, by ``skimage.feature.SIFT`` with its defaults.

    Parameters
    ----------
    images : Tensor or array_like, shape (N, 1, H, W)
        In [0, 1]: the detector's thresholds are absolute.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    list of ndarray
        N arrays (keypoints, 128) float32; of length 0 where an image has no keypoint.

    Raises
    ------
    ValueError
        Another shape, NaN or infinity, or values outside [0, 1].
    """
    from skimage.feature import SIFT

    stack = check_images(images, "images").cpu().numpy()
    if stack.size and (stack.min() < 0 or stack.max() > 1):
        raise ValueError(f"images: found values from {stack.min()} to {stack.max()}, expected [0, 1]")
    found = []
    for index, image in enumerate(stack):
        finder = SIFT()
        try:
            finder.detect_and_extract(image)
            raw = np.asarray(finder.descriptors, np.float32)
        except RuntimeError:  # scikit-image's way to say that there is none
            raw = np.zeros((0, 128), np.float32)
        norm = np.linalg.norm(raw, axis=1, keepdims=True)
        found.append((raw / np.where(norm > 0, norm, 1)).astype(np.float32))
        if progress is not None:
            progress(index + 1, len(stack))
    return found


def match_counts(
    a: Sequence[Descriptors], b: Sequence[Descriptors], *, max_ratio: float = MAX_RATIO
) -> NDArray[np.int64]:
    """Keypoints of each image of ``a`` with a match in each image of ``b``.

    A keypoint matches if its nearest descriptor in the other image is nearer than ``max_ratio`` times the second
    nearest; an image with fewer than two keypoints has no second nearest and so no match.

    Returns
    -------
    ndarray of int64, shape (len(a), len(b))
    """
    counts = np.zeros((len(a), len(b)), np.int64)
    usable = [index for index, keypoints in enumerate(b) if len(keypoints) >= 2]
    if not usable:
        return counts
    others = np.concatenate([b[index] for index in usable])
    starts = np.cumsum([0, *(len(b[index]) for index in usable[:-1])])
    lengths = np.array([len(b[index]) for index in usable])
    for row, keypoints in enumerate(a):
        if len(keypoints) == 0:
            continue
        # |u - v|^2 of vectors of length 1 or 0
        square = (keypoints**2).sum(1)[:, None] + (others**2).sum(1) - 2 * keypoints @ others.T
        distance = np.sqrt(np.maximum(square, 0))
        nearest = np.minimum.reduceat(distance, starts, axis=1)
        is_nearest = distance == np.repeat(nearest, lengths, axis=1)
        twice = np.add.reduceat(is_nearest, starts, axis=1, dtype=np.int64) > 1
        second = np.minimum.reduceat(np.where(is_nearest, np.inf, distance), starts, axis=1)
        second = np.where(twice, nearest, second)
        counts[row, usable] = (nearest < max_ratio * second).sum(axis=0)
    return counts


def sift_distances(
    a: Any,
    b: Any = None,
    *,
    max_ratio: float = MAX_RATIO,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """One less the share of keypoints that find a match, for all pairs of images.

    P2 says "keypoint-based SIFT distance, calculated using the ratio test" and no more. Decided here:
    ``1 - (m_ab + m_ba) / (n_a + n_b)`` with n the number of keypoints and m_ab those of a that match in b
    (`match_counts`): symmetric, between 0 and 1, and 1 where either image has no keypoints.

    Parameters
    ----------
    a, b : Tensor or array_like, shape (N, 1, H, W) and (M, 1, H, W)
        In [0, 1]. ``b`` None: all pairs within ``a``.
    max_ratio : float
        Lowe's ratio, in (0, 1].
    progress : callable, optional
        Called while keypoints are looked for.

    Returns
    -------
    ndarray of float64, shape (N, M)

    Raises
    ------
    ValueError
        As `sift_descriptors`, or a ratio out of range.
    """
    if not 0 < max_ratio <= 1:
        raise ValueError(f"max_ratio: found {max_ratio}, expected 0 < max_ratio <= 1")
    left = sift_descriptors(a, progress=progress)
    right = left if b is None else sift_descriptors(b, progress=progress)
    there = match_counts(left, right, max_ratio=max_ratio)
    back = there if b is None else match_counts(right, left, max_ratio=max_ratio)
    keypoints = np.add.outer([len(found) for found in left], [len(found) for found in right])
    return 1 - (there + back.T) / np.maximum(keypoints, 1)
