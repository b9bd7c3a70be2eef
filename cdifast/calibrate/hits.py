"""Which frames are hits: pixels that light up, and what the frames without a particle say of chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from .calibration import Calibration
from .centers import as_images
from .comparisons import above, counts
from .robust import GAUSSIAN_MAD, gaussian_tail, normal_quantile, row_median, row_mode, sorted_rows

_PIXELS: Final = 1 << 22  # worked on at once
_FEWEST: Final = 16  # frames from which a distribution can be told
_SPARSE: Final = 20.0  # lit pixels a frame below which counts are too few for a Gaussian
_ANSCOMBE: Final = 0.375


def lit_level(calibration: Calibration, sigmas: float = 5.0) -> Tensor:
    """Value above which a pixel of a calibrated frame is lit, ``(H, W)`` float32.

    Parameters
    ----------
    calibration : Calibration
        With its noise.
    sigmas : float
        Standard deviations of the pixel's noise; with a gain, at least half a photon.

    Raises
    ------
    ValueError
        If the calibration has no noise.
    """
    if calibration.noise is None:
        raise ValueError("lit_level: the calibration has no noise; make it from dark frames, or give a level")
    level = sigmas * calibration.noise
    if calibration.photons_per_unit is not None:
        level = (level * calibration.photons_per_unit).clamp_min(0.5)
    return torch.where(calibration.good, level, torch.inf)


def typical_level(images: Tensor, good: Tensor | None = None, sigmas: float = 5.0) -> float:
    """Value above which a pixel is lit, from frames themselves where there are no dark frames.

    The median of a frame's pixels plus ``sigmas`` standard deviations (from the median absolute deviation), and of
    these the median over the frames: right while most pixels of most frames are unlit. For integers at least half a
    unit above the median: of photon counts that are mostly 0, every photon lights its pixel.

    Parameters
    ----------
    images : Tensor, (n, H, W)
        Any real type.
    good : Tensor of bool, (H, W) or (n, H, W), optional
    sigmas : float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or no pixel is good.
    """
    images, good = as_images("typical_level", images, good)
    least = 0.0 if images.is_floating_point() else 0.5
    levels = []
    for frame, mask in zip(images, good.expand(images.shape), strict=True):
        values = frame[mask].float()
        everything = torch.ones_like(values, dtype=torch.bool)
        middle = row_median(*sorted_rows(values, everything))
        spread = GAUSSIAN_MAD * row_median(*sorted_rows((values - middle).abs(), everything))
        levels.append(middle + (sigmas * spread).clamp_min(least))
    found = torch.stack(levels) if levels else torch.empty(0)
    level = row_median(*sorted_rows(found, found.isfinite()))
    if not bool(level.isfinite()):
        raise ValueError(f"typical_level: none of the {len(images)} frames has a good pixel")
    return float(level)


def lit_pixels(images: Tensor, level: float | Tensor, good: Tensor | None = None) -> Tensor:
    """How many good pixels of each frame are above a level.

    Parameters
    ----------
    images : Tensor, (n, H, W)
        Any real type; NaN is never lit.
    level : float or Tensor, (H, W)
    good : Tensor of bool, (H, W) or (n, H, W), optional
        Pixels that count: good ones, of the region of interest.

    Returns
    -------
    Tensor of int64, (n,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    images, good = as_images("lit_pixels", images, good)
    if isinstance(level, Tensor) and level.dim() and level.shape != images.shape[1:]:
        raise ValueError(f"lit_pixels: level is {tuple(level.shape)}; expected one or {tuple(images.shape[1:])}")
    count = torch.empty(len(images), dtype=torch.int64, device=images.device)
    step = max(1, _PIXELS // images.shape[1:].numel())
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        lit = above(images[part].float(), level)
        lit &= good[part] if len(good) > 1 else good
        count[part] = counts(lit)
    return count


@dataclass(frozen=True)
class NullDistribution:
    """How the scores of frames without a particle are distributed: a Gaussian, of counts after a square root.

    Attributes
    ----------
    center, spread : float
        Mean and standard deviation; of counts x, those of :math:`2\\sqrt{x + 3/8}` (Anscombe: 1 for Poisson counts).
    counts : bool
        The scores are counts.
    rate : float
        Mean count; NaN for other scores.
    """

    center: float
    spread: float
    counts: bool
    rate: float

    def significance(self, scores: Tensor) -> Tensor:
        """``(n,)`` float64: standard deviations above the mean; NaN stays NaN."""
        return (_stable(scores, self.counts) - self.center) / self.spread

    def threshold(self, false_positive_rate: float) -> float:
        """Scores above it are hits; a frame without a particle is one with the given probability.

        For counts of less than 20 a frame, where a Gaussian says little, at least the threshold of a Poisson variable
        of the same mean.

        Raises
        ------
        ValueError
            If the rate is not between 0 and 0.5.
        """
        if not 0 < false_positive_rate < 0.5:
            raise ValueError(
                f"threshold: found false_positive_rate {false_positive_rate}; expected a number between 0 and 0.5"
            )
        value = self.center + normal_quantile(1 - false_positive_rate) * self.spread
        if not self.counts:
            return value
        value = (max(value, 0.0) / 2) ** 2 - _ANSCOMBE
        if self.rate < _SPARSE:
            value = max(value, _poisson_quantile(self.rate, false_positive_rate) + 0.5)
        return value

    def false_positive_rate(self, threshold: float) -> float:
        """Probability that a frame without a particle has a score above the threshold, by the Gaussian."""
        score = torch.tensor([threshold], dtype=torch.float64)
        return float(gaussian_tail(self.significance(score))[0])


def null_distribution(scores: Tensor, *, counts: bool = True) -> NullDistribution:
    """Distribution of the frames without a particle, from the scores of a run with hits and all.

    The peak of the misses is where scores are densest (:func:`cdifast.calibrate.robust.row_mode`), and its width comes
    from the scores below it, where no hit is. Right while more than a quarter of the frames are misses and their peak
    is the narrowest; from 1,000 of them the threshold's rate of false hits is good to about a factor of 2 at 1e-3.

    Parameters
    ----------
    scores : Tensor, (n,)
        Of any real type; NaN is left out.
    counts : bool
        They are counts (lit pixels), not values that are Gaussian already (:class:`PoissonScore`).

    Raises
    ------
    ValueError
        If there are fewer than 16 scores, or negative counts.
    """
    values = scores.flatten().double()
    values = values[values.isfinite()]
    if len(values) < _FEWEST:
        raise ValueError(f"null_distribution: found {len(values)} scores; expected at least {_FEWEST}")
    if counts and bool((values < 0).any()):
        raise ValueError(f"null_distribution: found the count {float(values.min())}; expected 0 or more")
    stable = _stable(values, counts)
    location, scale = row_mode(*sorted_rows(stable, torch.ones_like(stable, dtype=torch.bool)))
    center, spread = float(location), float(scale)
    if not counts:
        if spread == 0:
            raise ValueError(f"null_distribution: most of the {len(values)} scores are {center}; they tell no spread")
        return NullDistribution(center, spread, False, math.nan)
    # One more count than was seen: nothing in n frames does not mean that nothing ever comes.
    misses = values[stable <= center + 4 * max(spread, 1.0)]
    rate = (float(misses.sum()) + 1) / len(misses)
    if rate < _SPARSE:
        tail = 1e-3
        least = 2 * math.sqrt(_poisson_quantile(rate, tail) + 0.5 + _ANSCOMBE) - center
        spread = max(spread, least / normal_quantile(1 - tail))
    return NullDistribution(center, max(spread, 1e-6), True, rate)


def _stable(scores: Tensor, counts: bool) -> Tensor:
    """Scores of constant variance."""
    values = scores.double()
    return 2 * (values + _ANSCOMBE).clamp_min(0).sqrt() if counts else values


def _poisson_quantile(rate: float, tail: float) -> int:
    """Smallest number that a Poisson variable exceeds with a probability of at most ``tail``."""
    numbers = torch.arange(math.ceil(rate + 40 * math.sqrt(rate + 1) + 40), dtype=torch.float64)
    # P(X <= k) is the regularised upper gamma function Q(k + 1, rate).
    exceeded = 1 - torch.special.gammaincc(numbers + 1, torch.full_like(numbers, rate))
    return int((exceeded <= tail).int().argmax())
