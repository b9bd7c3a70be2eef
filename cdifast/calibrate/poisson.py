"""How improbable the photons of a frame are if all of them are background."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from .centers import as_images

_PIXELS: Final = 1 << 20  # worked on at once, in float64
# The moments are tabulated where they differ from those of many photons, and interpolated in the logarithm.
_LOWEST, _HIGHEST, _ENTRIES = 1e-8, 50.0, 1024


class PoissonScore:
    r"""Deviance of photon counts from a background, in standard deviations.

    .. math:: z = \frac{\sum_i (D_i - E[D_i])}{\sqrt{\sum_i \mathrm{Var}[D_i]}}, \qquad
              D = 2 \left( n \ln\frac{n}{b} - n + b \right)

    over the good pixels, n the photons of a pixel and b those expected: twice the logarithm of the likelihood ratio
    between "each pixel as it is" and "background only". The moments of D under the background are exact sums over the
    Poisson distribution up to b = 50, and 1 + 1/(6b), 2 + 2/(3b) beyond. z has mean 0 and variance 1 for frames that
    are background only; where few photons are expected altogether it is skewed, and :func:`null_distribution` of a
    run says what is rare. A photon where none is expected weighs more than one where many are: :func:`lit_pixels`
    cannot tell these apart.

    Parameters
    ----------
    background : Tensor, (H, W)
        Expected photons of each pixel, for example :attr:`Background.image`. Pixels where it is not finite do not
        count.
    good : Tensor of bool, (H, W), optional
        Pixels that count.
    least : float
        The background is nowhere less: a mean over a few thousand frames that saw no photon is not 0.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or no pixel counts.
    """

    def __init__(self, background: Tensor, good: Tensor | None = None, *, least: float = 1e-3) -> None:
        image, mask = as_images("PoissonScore", background, good)
        if background.dim() != 2:
            raise ValueError(f"PoissonScore: background is {tuple(background.shape)}; expected (H, W)")
        if not least > 0:
            raise ValueError(f"PoissonScore: found least {least}; expected a positive number")
        self.pixels = torch.nonzero(mask[0].flatten())[:, 0]
        if not len(self.pixels):
            raise ValueError("PoissonScore: no pixel counts: none is good with a finite background")
        self.shape = tuple(background.shape)
        self.expected = image.flatten()[self.pixels].double().clamp_min(least)
        self._least = least
        self._table = _table().to(image.device)

    def __call__(self, images: Tensor, good: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """Score of each frame.

        Parameters
        ----------
        images : Tensor, (n, H, W)
            Photons; rounded to whole numbers, negative ones to 0.
        good : Tensor of bool, (H, W) or (n, H, W), optional
            Pixels that count, of those that the score was made for.
        scale : Tensor, (n,), optional
            Factor on the background of each frame (:attr:`CorrectionTerms.background_scale`); default 1.

        Returns
        -------
        Tensor of float64, (n,)
            NaN where no pixel counts.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        images, mask = as_images("PoissonScore", images, good)
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"PoissonScore: images is {tuple(images.shape)}; expected (n, {self.shape[0]}, {self.shape[1]})"
            )
        if scale is not None and scale.shape != (len(images),):
            raise ValueError(f"PoissonScore: scale is {tuple(scale.shape)}; expected ({len(images)},)")
        scores = torch.empty(len(images), dtype=torch.float64, device=images.device)
        step = max(1, _PIXELS // len(self.pixels))
        still = self._moments(self.expected[None]) if scale is None else None
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            photons = images[part].flatten(1).index_select(1, self.pixels).double().round().clamp_min(0)
            usable = (mask[part] if len(mask) > 1 else mask).flatten(1).index_select(1, self.pixels)
            expected = self.expected[None]
            if scale is not None:
                expected = (expected * scale[part].double()[:, None]).clamp_min(self._least)
            mean, variance = still if still is not None else self._moments(expected)
            deviance = 2 * (torch.special.xlogy(photons, photons / expected) - photons + expected)
            excess = torch.where(usable, deviance - mean, 0).sum(dim=1)
            total = torch.where(usable, variance, 0).sum(dim=1)
            scores[part] = torch.where(total > 0, excess / total.sqrt(), torch.nan)
        return scores

    def _moments(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the deviance of Poisson variables."""
        place = (expected / _LOWEST).log() / math.log(_HIGHEST / _LOWEST) * (_ENTRIES - 1)
        low = place.floor().clamp(0, _ENTRIES - 2).long()
        part = place - low
        few = [table[low] * (1 - part) + table[low + 1] * part for table in self._table]
        many = [1 + 1 / (6 * expected), 2 + 2 / (3 * expected)]
        mean, variance = (torch.where(expected < _HIGHEST, a, b) for a, b in zip(few, many, strict=True))
        return mean, variance


def _table() -> Tensor:
    """Mean and variance ``(2, entries)`` of the deviance, by summing over the Poisson distribution."""
    steps = torch.linspace(0, 1, _ENTRIES, dtype=torch.float64)
    expected = (_LOWEST * (_HIGHEST / _LOWEST) ** steps)[:, None]
    number = torch.arange(200, dtype=torch.float64)  # P(X >= 200) < 1e-50 for a mean of 50
    probability = (torch.special.xlogy(number, expected) - expected - torch.lgamma(number + 1)).exp()
    deviance = 2 * (torch.special.xlogy(number, number / expected) - number + expected)
    mean = (probability * deviance).sum(dim=1)
    return torch.stack([mean, (probability * (deviance - mean[:, None]).square()).sum(dim=1)])
