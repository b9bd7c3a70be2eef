"""Structural similarity (SSIM), a direct measure of P2's Table 1, of pairs and of all pairs of images.

Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13 (2004) 600.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .local_windows import all_similarities, check_images, check_pair, paired_similarity

WINDOW = 11
SIGMA = 1.5


def ssim(a: Any, b: Any, *, data_range: float = 1.0) -> Tensor:
    """SSIM of ``a[i]`` and ``b[i]``.

    An 11 x 11 Gaussian window (sigma 1.5), K1 = 0.01, K2 = 0.03, moments of the window's weights, mean over all places
    of the window within the image: scikit-image's ``structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)``.

    Parameters
    ----------
    a, b : Tensor or array_like, shape (N, 1, H, W)
        Images of 11 pixels a side at least. Integers and half precision are computed in float32.
    data_range : float
        Largest less smallest value that images may have (L of the paper).

    Returns
    -------
    Tensor of float64, shape (N,)
        1 for equal images.

    Raises
    ------
    ValueError
        Shapes that do not fit, images smaller than the window, NaN or infinity, a range that is not positive.
    """
    left, right = check_pair(a, b, paired=True)
    return paired_similarity(left, right, WINDOW, _score(left, data_range), _even_weights(left))


def ssim_matrix(a: Any, b: Any = None, *, data_range: float = 1.0) -> Tensor:
    """SSIM of every ``a[i]`` and ``b[j]``; ``1 - ssim_matrix(images)`` is a distance for `cdifast.evaluate.overlap`.

    Parameters
    ----------
    a, b, data_range
        As `ssim`, but ``b (M, 1, H, W)``; None: all pairs within ``a``.

    Returns
    -------
    Tensor of float64, shape (N, M)

    Raises
    ------
    ValueError
        As `ssim`.
    """
    left, right = (check_images(a, "a"), None) if b is None else check_pair(a, b, paired=False)
    return all_similarities(left, right, WINDOW, _score(left, data_range), _even_weights(left))


def _score(images: Tensor, data_range: float) -> Callable[[Tensor, Tensor, bool], Tensor]:
    if not data_range > 0:
        raise ValueError(f"data_range: found {data_range}, expected a positive number")
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    gaussian = (line[:, None] * line).flatten()
    gaussian = (gaussian / gaussian.sum()).to(images)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def score(a: Tensor, b: Tensor, paired: bool) -> Tensor:
        # Deviations from the window's own mean, so that variances do not cancel.
        mean_a, mean_b = a @ gaussian, b @ gaussian
        from_a = (a - mean_a[..., None]) * gaussian.sqrt()
        from_b = (b - mean_b[..., None]) * gaussian.sqrt()
        power_a, power_b = (part.square().sum(dim=-1) for part in (from_a, from_b))
        if paired:
            covariance = (from_a * from_b).sum(dim=-1)
        else:
            covariance = from_a @ from_b.mT
            mean_a, power_a = mean_a[..., None], power_a[..., None]
            mean_b, power_b = mean_b[:, None], power_b[:, None]
        light = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
        return light * (2 * covariance + c2) / (power_a + power_b + c2)

    return score


def _even_weights(images: Tensor) -> Tensor:
    height, width = (side - WINDOW + 1 for side in images.shape[1:])
    if min(height, width) < 1:
        raise ValueError(f"a: found images of {tuple(images.shape[1:])}, expected at least {WINDOW} pixels a side")
    return torch.full((height, width), 1 / (height * width), dtype=torch.float64, device=images.device)
