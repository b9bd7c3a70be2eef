"""Similarity of many images window by window: what SSIM and CW-SSIM have in common.

All pairs of N images at once are a matrix product for each window, N x p by p x N with p the pixels of the window: far
less work than a filter for each pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor, bool], Tensor]
"""(windows of a ``(w, n, p)``, windows of b ``(w, m, p)``, paired) to similarities: ``(w, n)`` if paired (n = m), else
``(w, n, m)``."""

BLOCK_NUMBERS = 1 << 18
"""Similarities of windows held at once: 1 MB, which stays in the cache and costs no page faults."""

BLOCK_IMAGES = 64
"""Images of ``a`` at once: enough for a matrix product, few enough to leave out half of the symmetric pairs."""


def paired_similarity(a: Tensor, b: Tensor, window: int, score: Score, weights: Tensor) -> Tensor:
    """Weighted mean of the windows' similarities of ``a[i]`` and ``b[i]``: ``(N,)`` float64.

    Parameters
    ----------
    a, b : Tensor, shape (N, h, w)
        Real or complex.
    window : int
        Side of the window, which lies wholly within the image.
    score : callable
        See `Score`.
    weights : Tensor, shape (h - window + 1, w - window + 1)
        One for each place of the window; add up to 1.
    """
    total = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    block = max(1, 8 * BLOCK_NUMBERS // (weights.shape[1] * window * window))
    for start in range(0, len(a), block):
        part = slice(start, start + block)
        for row, line in enumerate(weights):
            found = score(_windows(a[part], row, window), _windows(b[part], row, window), True)
            total[part] += (line[:, None] * found).sum(dim=0)
    return total


def all_similarities(a: Tensor, b: Tensor | None, window: int, score: Score, weights: Tensor) -> Tensor:
    """Weighted mean of the windows' similarities of every ``a[i]`` and ``b[j]``: ``(N, M)`` float64.

    ``b`` None: all pairs within ``a``, each computed once; the score must be symmetric.
    """
    other = a if b is None else b
    total = torch.zeros(len(a), len(other), dtype=torch.float64, device=a.device)
    places = max(1, BLOCK_NUMBERS // max(1, BLOCK_IMAGES * len(other)))
    for row, line in enumerate(weights):
        left = _windows(a, row, window)
        right = left if b is None else _windows(b, row, window)
        for place in range(0, len(line), places):
            part = slice(place, place + places)
            for start in range(0, len(a), BLOCK_IMAGES):
                first = start if b is None else 0
                block = slice(start, start + BLOCK_IMAGES)
                found = score(left[part, block], right[part, first:], False)
                total[block, first:] += torch.tensordot(line[part].to(found.dtype), found, 1)
    return total.triu() + total.triu(1).mT if b is None else total


def check_images(images: Any, name: str) -> Tensor:
    """Images ``(N, H, W)``, floating, from ``(N, 1, H, W)`` or ``(N, H, W)``; finite.

    Raises
    ------
    ValueError
        Another shape, or NaN or infinity; the image is named.
    """
    values = torch.as_tensor(images)
    if values.dim() == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dim() != 3:
        raise ValueError(f"{name}: found shape {tuple(values.shape)}, expected (N, 1, H, W)")
    if not values.is_floating_point() or values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    finite = torch.isfinite(values).flatten(1).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(f"{name}: image {int((~finite).nonzero()[0])} holds NaN or infinity")
    return values


def check_pair(a: Any, b: Any, *, paired: bool) -> tuple[Tensor, Tensor]:
    """Two checked sets of images of one size and dtype; as many of each if ``paired``."""
    left, right = check_images(a, "a"), check_images(b, "b")
    if left.shape[1:] != right.shape[1:] or (paired and len(left) != len(right)):
        raise ValueError(f"b: found shape {tuple(right.shape)}, expected to match a, {tuple(left.shape)}")
    kind = torch.promote_types(left.dtype, right.dtype)
    return left.to(kind), right.to(left.device, kind)


def _windows(images: Tensor, row: int, window: int) -> Tensor:
    """All windows whose first line is ``row``: ``(places, N, window^2)``."""
    strip = images[:, row : row + window].unfold(2, window, 1)  # (N, window, places, window)
    return strip.permute(2, 0, 1, 3).flatten(2)
