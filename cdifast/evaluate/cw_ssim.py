"""Complex-wavelet structural similarity (CW-SSIM), a direct measure of P2's Table 1.

Wang and Simoncelli, ICASSP 2005 (P2's reference); Sampat, Wang, Gupta, Bovik and Markey, IEEE Trans. Image Process. 18
(2009) 2385.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .local_windows import all_similarities, check_images, check_pair, paired_similarity
from .steerable import SteerablePyramid

WINDOW = 7
COARSEST = 8
"""Least side of a level in pixels."""


def cw_ssim(
    a: Any, b: Any, *, levels: int | None = None, orientations: int = 16, k: float = 0.01, data_range: float = 1.0
) -> Tensor:
    """CW-SSIM of ``a[i]`` and ``b[i]``.

    In each band of a complex steerable pyramid (`SteerablePyramid`), in each 7 x 7 window,

    ``(2 |sum x conj(y)| + K) / (sum |x|^2 + sum |y|^2 + K)``

    (Sampat et al.); then the mean over the windows, weighted by a Gaussian about the image's middle with a standard
    deviation of a quarter of its side, and over all bands of all levels. A small shift turns the phases of a window
    alike and leaves the score; that is what SSIM lacks. Open in the papers and decided here:

    - levels: as many as leave 8 pixels a side, so the six of Sampat et al. for 256 pixels and four for 64;
    - K = 49 (k data_range)^2, the k of SSIM's first constant for each of the window's coefficients. Without it, windows
      without signal (a detector's hole, beyond its rim) would compare rounding errors; with it they score 1.

    Parameters
    ----------
    a, b : Tensor or array_like, shape (N, 1, H, W)
        Images, sides divisible by 2^(levels - 1). Integers and half precision are computed in float32.
    levels : int, optional
        None: see above.
    orientations : int
        Bands a level (Sampat et al.: 16).
    k : float
        See above, non-negative.
    data_range : float
        Largest less smallest value that images may have.

    Returns
    -------
    Tensor of float64, shape (N,)
        1 for equal images, else below; never negative.

    Raises
    ------
    ValueError
        Shapes that do not fit, sides that the levels do not divide or that leave less than the window at the coarsest,
        NaN or infinity, constants out of range.
    """
    left, right = check_pair(a, b, paired=True)
    pyramid, score = _pyramid(left, levels, orientations), _score(k, data_range)
    total = torch.zeros(len(left), dtype=torch.float64, device=left.device)
    pair = [pyramid.spectrum(part) for part in (left, right)]
    for level, orientation in _bands(pyramid):
        x, y = (pyramid.band(part, level, orientation) for part in pair)
        total += paired_similarity(x, y, WINDOW, score, _gaussian_weights(x))
    return total / (pyramid.levels * orientations)


def cw_ssim_matrix(
    a: Any,
    b: Any = None,
    *,
    levels: int | None = None,
    orientations: int = 16,
    k: float = 0.01,
    data_range: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """CW-SSIM of every ``a[i]`` and ``b[j]``; ``1 - cw_ssim_matrix(images)`` is a distance.

    One band of all images is in memory at a time.

    Parameters
    ----------
    a, b, levels, orientations, k, data_range
        As `cw_ssim`, but ``b (M, 1, H, W)``; None: all pairs within ``a``.
    progress : callable, optional
        Called with (bands done, bands in all).

    Returns
    -------
    Tensor of float64, shape (N, M)

    Raises
    ------
    ValueError
        As `cw_ssim`.
    """
    left, right = (check_images(a, "a"), None) if b is None else check_pair(a, b, paired=False)
    pyramid, score = _pyramid(left, levels, orientations), _score(k, data_range)
    spectrum = pyramid.spectrum(left)
    other = None if right is None else pyramid.spectrum(right)
    total = torch.zeros(len(left), len(left if right is None else right), dtype=torch.float64, device=left.device)
    count = pyramid.levels * orientations
    for done, (level, orientation) in enumerate(_bands(pyramid), 1):
        x = pyramid.band(spectrum, level, orientation)
        y = None if other is None else pyramid.band(other, level, orientation)
        total += all_similarities(x, y, WINDOW, score, _gaussian_weights(x))
        if progress is not None:
            progress(done, count)
    return total / count


def _bands(pyramid: SteerablePyramid) -> Iterator[tuple[int, int]]:
    return ((level, band) for level in range(pyramid.levels) for band in range(pyramid.orientations))


def _pyramid(images: Tensor, levels: int | None, orientations: int) -> SteerablePyramid:
    height, width = images.shape[1:]
    side = min(height, width)
    if levels is None:
        levels = 1
        while side >> levels >= COARSEST and height % 2**levels == 0 and width % 2**levels == 0:
            levels += 1
    if side >> max(levels - 1, 0) < WINDOW:
        raise ValueError(f"levels: found {levels} for {height} x {width}, which leave less than {WINDOW} pixels a side")
    return SteerablePyramid(height, width, levels, orientations, dtype=images.dtype, device=images.device)


def _score(k: float, data_range: float) -> Callable[[Tensor, Tensor, bool], Tensor]:
    if not k >= 0 or not data_range > 0:
        raise ValueError(f"k, data_range: found {k}, {data_range}, expected k >= 0 and data_range > 0")
    # The least number that keeps 0/0 away where k is 0.
    constant = max(WINDOW * WINDOW * (k * data_range) ** 2, 1e-30)

    def score(x: Tensor, y: Tensor, paired: bool) -> Tensor:
        # In real numbers: their products are faster, and complex magnitudes slow.
        re_im, other = (torch.view_as_real(part).flatten(-2) for part in (x, y))
        turned = torch.view_as_real(-1j * x).flatten(-2)
        power_x, power_y = re_im.square().sum(dim=-1), other.square().sum(dim=-1)
        if paired:
            real, imaginary = (re_im * other).sum(dim=-1), (turned * other).sum(dim=-1)
        else:
            real, imaginary = re_im @ other.mT, turned @ other.mT
            power_x, power_y = power_x[..., None], power_y[:, None]
        magnitude = real.square_().add_(imaginary.square_()).sqrt_()
        return magnitude.mul_(2).add_(constant).div_(power_x + power_y + constant)

    return score


def _gaussian_weights(band: Tensor) -> Tensor:
    """Weights of the windows' places: a Gaussian about the middle, a quarter of the side wide, adding up to 1."""
    lines = []
    for side in band.shape[1:]:
        offsets = torch.arange(side - WINDOW + 1, dtype=torch.float64, device=band.device) - (side - WINDOW) / 2
        lines.append(torch.exp(-(offsets**2) / (2 * (side / 4) ** 2)))
    weights = lines[0][:, None] * lines[1]
    return weights / weights.sum()
