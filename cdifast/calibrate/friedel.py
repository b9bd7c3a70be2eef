"""The centre of a pattern by its point symmetry (Friedel's law)."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from .centers import (
    Centers,
    Compression,
    Guess,
    as_guess,
    as_images,
    as_search,
    nothing,
    prepare,
)
from .inversion import refine_center

# Pixels of all transforms that are in memory at once.
_CPU_PIXELS: Final = 1 << 21
_GPU_PIXELS: Final = 1 << 26
_FIT: Final = 2  # steps on each side of the highest sample that the paraboloid is fitted to
# The shared pixels must vary by this share of the image's variance, or there is nothing to correlate.
_LEAST_VARIANCE: Final = 1e-4


def friedel_center(
    images: Tensor,
    good: Tensor | None = None,
    *,
    guess: Guess = None,
    search: float | None = None,
    compression: Compression = "sqrt",
    min_share: float = 0.2,
    min_significance: float = 6.0,
) -> Centers:
    r"""Find the centre of point symmetry of diffraction patterns.

    The image and the image inverted through c, :math:`I'(x) = I(2c - x)`, are compared over the pixels that are good
    in both, by their normalised correlation

    .. math:: \rho(2c) = \frac{\sum I I' - (\sum I)^2 / N}{\sum I^2 - (\sum I)^2 / N},

    sums over the N shared pixels, of which each pixel's pair with itself is left out (a hot pixel would otherwise put
    a peak where it is). For every c on the grid of half pixels the sums are convolutions of the masked image, its
    square and the mask with each other, hence four products of Fourier transforms (Padfield, *IEEE Trans. Image
    Process.* **21**, 2706 (2012), for two images). A paraboloid through the 5 x 5 samples round the highest one gives
    the centre to a fraction of a pixel; three steps of least squares between the image and its interpolated inverse
    do the rest.

    *Valid* where Friedel's law holds: weakly scattering particles at angles so small that the Ewald sphere is flat
    (:math:`q_z R \ll 1`), and any particle with a rotation axis along the beam, a sphere above all, at any angle.
    Wide-angle patterns of tilted particles (helium droplets: prolate, bent, asymmetric) have no such symmetry, and the
    centre found is off, towards the brighter side, by more than ``uncertainty`` says: take the median of a run's round
    shots (:func:`combine_centers`), or trust the score. A detector of which only one half is there has no pairs at all:
    nothing is found, use :func:`ring_center`.

    Parameters
    ----------
    images : Tensor, (n, H, W) or (H, W)
        Photons, of any real type; with the dark level taken off.
    good : Tensor of bool, (H, W) or (n, H, W), optional
        True where a pixel is good. Pixels that are not finite never are.
    guess : pair of float or Tensor (2,) or (n, 2), optional
        Where to search; default the middle of the image.
    search : float, optional
        How far from the guess, along each axis, in pixels; default an eighth of the shorter side.
    compression : {"sqrt", "log", "none"}
        Of the values before they are compared. The brightest thousandth of an image's pixels is cut to one height.
    min_share : float
        A centre counts if at least this share of the good pixels has a good partner.
    min_significance : float
        A centre counts if the correlation is this many standard deviations from what uncorrelated pixels give.

    Returns
    -------
    Centers
        ``score`` is the correlation at the peak: 1 for perfect symmetry. ``uncertainty`` comes from the differences
        of pixels and their partners. ``share`` is that of the good pixels with a
        partner.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    Deterministic; a frame's result depends on the others of the batch only through the transforms' size. Memory is
    bounded whatever ``n``.
    """
    who = "friedel_center"
    images, good = as_images(who, images, good)
    points = as_guess(who, guess, images)
    reach = as_search(who, search, images.shape)
    if not 0 < min_share <= 1:
        raise ValueError(f"{who}: min_share is {min_share}; expected a number in (0, 1]")
    found = nothing(len(images), images.device)
    if not len(images):
        return found
    # Twice the centre is a whole number on the grid; the window keeps room for the fit.
    first = (2 * (points - reach)).floor().long() - _FIT
    extent = math.ceil(4 * reach) + 1 + 2 * _FIT
    size = _transform_size(images.shape[1:], first, extent)
    pixels = _CPU_PIXELS if images.device.type == "cpu" else _GPU_PIXELS
    step = max(1, pixels // (size[0] * size[1]))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        mask = good[part] if len(good) > 1 else good
        values = prepare(images[part], mask, compression)
        result = _find(values, mask, first[part], extent, size, min_share, min_significance)
        for whole, piece in zip(found, result, strict=True):
            whole[part] = piece
    return found


def _find(
    values: Tensor,
    good: Tensor,
    first: Tensor,
    extent: int,
    size: tuple[int, int],
    min_share: float,
    min_significance: float,
) -> tuple[Tensor, ...]:
    """Centre, score, uncertainty and share of some frames."""
    shape = values.shape
    number = good.sum(dim=(1, 2)).clamp_min(1)
    weight = good.to(values.dtype)

    transforms = [torch.fft.rfft2(t, s=size) for t in (values, weight, values.square())]
    image, mask, square = transforms
    rows, columns, even, inside = _window(first, extent, shape)

    def windowed(product: Tensor, pairs_with_itself: Tensor) -> Tensor:
        full = torch.fft.irfft2(product, s=size).expand(shape[0], *size)
        frames = torch.arange(shape[0], device=full.device)[:, None, None]
        part = full[frames, rows % size[0], columns % size[1]].double()
        own = pairs_with_itself.expand(shape)[
            frames, (rows // 2).clamp(0, shape[1] - 1), (columns // 2).clamp(0, shape[2] - 1)
        ]
        return part - torch.where(even & inside, own.double(), 0)

    pairs = windowed(mask * mask, weight).round()
    total = windowed(image * mask, values)
    squares = windowed(square * mask, values.square())
    products = windowed(image * image, values.square())
    enough = inside & (pairs >= min_share * number[:, None, None]) & (pairs > 2)
    divisor = pairs.clamp_min(1)
    spread = squares - total.square() / divisor
    enough &= spread > _LEAST_VARIANCE * divisor
    correlation = torch.where(enough, (products - total.square() / divisor) / spread.where(enough, 1.0), -torch.inf)
    center, score, share = _peak(correlation, pairs, first, min_significance)
    center, error = refine_center(values, good, center)
    return center, score, error, share / number


def _peak(correlation: Tensor, pairs: Tensor, first: Tensor, min_significance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, score and the number of pixels with a partner there."""
    count, extent, _ = correlation.shape
    # Few pairs correlate highly by chance: what is highest is the logarithm of the likelihood ratio of a correlation
    # to none, for Gaussians. A maximum at the window's edge is none: the samples round it must be there.
    evidence = -pairs / 4 * torch.log1p(-correlation.clamp(0, 1 - 1e-9).square())
    inner = evidence[:, _FIT : extent - _FIT, _FIT : extent - _FIT]
    best = inner.flatten(1).argmax(dim=1)
    place = torch.stack([best // inner.shape[2], best % inner.shape[2]], dim=1) + _FIT
    around = torch.arange(-_FIT, _FIT + 1, device=best.device)
    frames = torch.arange(count, device=best.device)[:, None, None]
    samples = correlation[frames, (place[:, 0, None] + around)[:, :, None], (place[:, 1, None] + around)[:, None, :]]
    whole = samples.isfinite().all(dim=2).all(dim=1)
    offset, height = _fit_peak(torch.where(whole[:, None, None], samples, 0))
    score = height.clamp(0, 1 - 1e-9)
    # Fisher: atanh of the correlation of n independent pairs has variance 1 / (n - 3).
    shared = pairs[frames[:, 0, 0], place[:, 0], place[:, 1]]
    significant = score.atanh() * (shared / 2 - 3).clamp_min(0).sqrt() >= min_significance
    found = whole & offset.isfinite().all(dim=1) & significant
    center = torch.where(found[:, None], (first + place + offset) / 2, torch.nan)
    return center, torch.where(found, score, 0), torch.where(found, shared, 0)


def _fit_peak(surface: Tensor) -> tuple[Tensor, Tensor]:
    """Peak of the paraboloid that fits an odd square of samples best, in steps of the samples from its middle.

    Least squares with the six terms 1, y, x, y^2, xy, x^2.

    Parameters
    ----------
    surface : Tensor of float64, (n, 2k + 1, 2k + 1)

    Returns
    -------
    offset : Tensor, (n, 2)
        NaN where the paraboloid has no peak, or not within the square.
    height : Tensor, (n,)
    """
    reach = surface.shape[-1] // 2
    steps = torch.arange(-reach, reach + 1, dtype=surface.dtype, device=surface.device)
    y, x = (t.flatten() for t in torch.meshgrid(steps, steps, indexing="ij"))
    terms = torch.stack([torch.ones_like(y), y, x, y * y, x * y, x * x], dim=1)
    constant, gy, gx, hyy, hxy, hxx = (surface.flatten(1) @ torch.linalg.pinv(terms).T).unbind(1)
    determinant = 4 * hyy * hxx - hxy * hxy
    peak = (determinant > 0) & (hyy < 0)
    safe = torch.where(peak, determinant, 1)
    offset = torch.stack([(hxy * gx - 2 * hxx * gy) / safe, (hxy * gy - 2 * hyy * gx) / safe], dim=1)
    peak = peak & (offset.abs().amax(dim=1) <= reach)
    height = constant + (gy * offset[:, 0] + gx * offset[:, 1]) / 2
    return torch.where(peak[:, None], offset, torch.nan), height


def _window(first: Tensor, extent: int, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows and columns of the window, where both are even, and where there are pairs, to broadcast."""
    steps = torch.arange(extent, device=first.device)
    rows = (first[:, 0, None] + steps)[:, :, None]
    columns = (first[:, 1, None] + steps)[:, None, :]
    even = (rows % 2 == 0) & (columns % 2 == 0)
    inside = (rows >= 0) & (rows <= 2 * shape[1] - 2) & (columns >= 0) & (columns <= 2 * shape[2] - 2)
    return rows, columns, even, inside


def _transform_size(shape: torch.Size, first: Tensor, extent: int) -> tuple[int, int]:
    """Smallest convenient size whose cyclic convolution is right within the window.

    The full convolution has places 0 to 2 L - 2; place s and s + P fall together. With every s of the window
    within 0 and 2 L - 2, nothing falls on it if P > 2 L - 2 - (lowest s) and P > (highest s).
    """
    sizes = []
    for axis, length in enumerate(shape):
        low = max(0, int(first[:, axis].min()))
        high = min(2 * length - 2, int(first[:, axis].max()) + extent - 1)
        sizes.append(_convenient(max(length, min(2 * length - 1, max(2 * length - 2 - low, high) + 1))))
    return sizes[0], sizes[1]


def _convenient(length: int) -> int:
    """The next number of the form 2^a 3^b 5^c with a > 0, for which transforms are fast."""
    best = 2 ** max(1, math.ceil(math.log2(length)))
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three * 2 ** max(1, math.ceil(math.log2(length / three))))
            three *= 3
        five *= 5
    return best
