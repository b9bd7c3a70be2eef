"""The centre of a pattern by its rings: from it, they unwrap to straight lines."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from cdifast.ops import polar_resample

from .centers import Centers, Compression, Guess, as_guess, as_images, as_search, nothing, prepare

_CPU_PIXELS: Final = 1 << 22
_GPU_PIXELS: Final = 1 << 26
# A ring of which less than this share of the angles is good says nothing of its roundness.
_LEAST_RING: Final = 0.1
_COARSE: Final = (64, 128)
_FINE: Final = (128, 256)
_LEAST_WEIGHT: Final = 0.5  # of a sample, as in `polar_resample`
_FIRST_STEPS: Final = 8  # on each side of the guess
_LAST_STEP: Final = 1.0  # of the search, in pixels
_ITERATIONS: Final = 6
_LONGEST: Final = 1.5  # pixels that one of them may move
_CONVERGED: Final = 0.05  # pixels that the last one would move
# Variance between rings over that within them, per degree of freedom, below which nothing was found: noise gives 1,
# and 3 at the best of the places that are tried.
_LEAST_RATIO: Final = 5.0


def ring_center(
    images: Tensor,
    good: Tensor | None = None,
    *,
    guess: Guess = None,
    search: float | None = None,
    r_min: float = 0.0,
    r_max: float | None = None,
    compression: Compression = "sqrt",
) -> Centers:
    r"""Find the centre round which diffraction patterns depend on the radius most.

    Unwrapped from a centre c (:func:`cdifast.ops.polar_resample`), with samples :math:`I_{jk}` of radius j and angle
    k and weights :math:`w_{jk} = r_j` (the area a sample stands for; 0 if masked), the share of the variance that the
    radius explains is

    .. math:: R^2(c) = \frac{\sum_{jk} w_{jk} (\bar I_j - \bar I)^2}{\sum_{jk} w_{jk} (I_{jk} - \bar I)^2}

    with the mean :math:`\bar I_j` of each ring. Its maximum is searched on a grid of 17 x 17 places, then on finer ones
    down to a pixel. From there, least squares: displaced by d, the pattern is :math:`f(r) - f'(r)\, u \cdot d` (u: the
    direction of the sample), f being the mean of the ring; six such steps. Rings of which less than a tenth is good do
    not count.

    *Valid* for round rings: particles that are round about the beam, at any angle, small or wide. Parts of rings are
    enough: half a detector, one quadrant, a hole. Elliptical rings and streaks have a stationary point of R^2 in the
    centre of their symmetry, but it need not be the highest: where :func:`friedel_center` can be used, it is the better
    one for them (the score tells: below 0.7 the rings are not round, or there is little light). Where a tilted
    particle's wide-angle pattern is brighter on one side or bent, neither is right for the single shot. Stray light
    that is not round pulls as well: take it off first.

    Parameters
    ----------
    images : Tensor, (n, H, W) or (H, W)
        Photons, of any real type; with the dark level taken off.
    good : Tensor of bool, (H, W) or (n, H, W), optional
        True where a pixel is good. Pixels that are not finite never are.
    guess : pair of float or Tensor (2,) or (n, 2), optional
        Where to search; default the middle of the image.
    search : float, optional
        How far from the guess, along each axis, in pixels; default an eighth of the shorter side. Beyond a few ring
        spacings only the pattern's decay with the radius leads to the centre.
    r_min, r_max : float
        Radii in pixels; ``r_max`` defaults to half the shorter side.
    compression : {"sqrt", "log", "none"}
        Of the values before they are compared. The brightest thousandth of an image's pixels is cut to one height.

    Returns
    -------
    Centers
        ``score`` is R^2 at the peak: 1 for perfect rings. ``uncertainty`` assumes round rings; what is not round
        counts as noise. ``share`` is that of the samples that were good.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    About 300 small unwrapped maps a frame are computed; memory is bounded whatever ``n``.
    """
    who = "ring_center"
    images, good = as_images(who, images, good)
    points = as_guess(who, guess, images)
    reach = as_search(who, search, images.shape)
    outer = (min(images.shape[1:]) - 1) / 2 if r_max is None else float(r_max)
    if not (0 <= r_min < outer < math.inf):
        raise ValueError(f"{who}: found radii {r_min} to {outer}; expected 0 <= r_min < r_max, finite")
    found = nothing(len(images), images.device)
    pixels = _CPU_PIXELS if images.device.type == "cpu" else _GPU_PIXELS
    step = max(1, pixels // images[0].numel()) if len(images) else 1
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        mask = good[part] if len(good) > 1 else good
        patterns = _Patterns(prepare(images[part], mask, compression), mask, r_min, outer)
        for whole, piece in zip(found, patterns.find(points[part], reach), strict=True):
            whole[part] = piece
    return found


class _Patterns:
    """Some patterns and the annulus that is looked at."""

    def __init__(self, values: Tensor, good: Tensor, r_min: float, r_max: float) -> None:
        # Masked pixels as 0, and the mask as an image: the ratio of the two unwrapped is what a mask gives, several
        # times as fast where every image has a centre of its own.
        self.images = values
        self.good = good.to(values.dtype)
        self.r_min, self.r_max = r_min, r_max

    def find(self, points: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, score, uncertainty and share."""
        step = reach / _FIRST_STEPS
        best = self._best(points, step, _FIRST_STEPS)
        while step > _LAST_STEP:
            step = max(step / 2, _LAST_STEP)
            best = self._best(best, step, 1)
        center = best
        for _ in range(_ITERATIONS):
            unwrapped = self._unwrap(center, _FINE)
            shift, _ = self._displacement(unwrapped)
            center = center + shift.clamp(-_LONGEST, _LONGEST)
        unwrapped = self._unwrap(center, _FINE)
        shift, error = self._displacement(unwrapped)
        score = _explained(*unwrapped)
        rings, pixels = self._freedom(unwrapped[1])
        ratio = score / rings / ((1 - score).clamp_min(1e-12) / (pixels - rings).clamp_min(1e-12))
        inside = ((center - points).abs() <= reach + _LONGEST).all(dim=1)
        found = inside & (shift.abs().amax(dim=1) < _CONVERGED) & (ratio >= _LEAST_RATIO)
        share = (unwrapped[1] > 0).double().mean(dim=(1, 2))
        return (
            torch.where(found[:, None], center, torch.nan),
            torch.where(found, score, 0),
            torch.where(found[:, None], error, torch.nan),
            torch.where(found, share, 0),
        )

    def _best(self, points: Tensor, step: float, steps: int) -> Tensor:
        """The point of a square grid round each of the points whose R^2 is highest."""
        offsets = [(dy * step, dx * step) for dy in range(-steps, steps + 1) for dx in range(-steps, steps + 1)]
        # Where all images have one guess, the operator prepares for each place once.
        shared = bool((points == points[:1]).all())
        scores = [
            _explained(*self._unwrap((points[0] if shared else points) + points.new_tensor(offset), _COARSE))
            for offset in offsets
        ]
        return points + points.new_tensor(offsets)[torch.stack(scores).argmax(dim=0)]

    def _unwrap(self, center: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Maps and weights ``(n, n_radial, n_angular)``; rings of which too little is good have weight 0."""
        images, good = self.images, self.good
        unwrapped = polar_resample(images, *size, center=center, r_min=self.r_min, r_max=self.r_max)
        if len(good) == 1:
            good = good[0] if center.dim() == 1 else good.expand_as(images)
        weight = polar_resample(good, *size, center=center, r_min=self.r_min, r_max=self.r_max)
        valid = weight >= _LEAST_WEIGHT
        unwrapped = torch.where(valid, unwrapped / weight, 0)
        rings = valid.sum(dim=-1) >= _LEAST_RING * size[1]
        radii = torch.linspace(self.r_min, self.r_max, size[0], device=images.device)
        return unwrapped, (valid * (radii * rings)[..., None]).expand_as(unwrapped)

    def _freedom(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """How many rings and how many values of their own the maps have: no more than there are pixels."""
        n_radial, n_angular = weight.shape[1:]
        step = (self.r_max - self.r_min) / (n_radial - 1)
        radii = torch.linspace(self.r_min, self.r_max, n_radial, dtype=torch.float64, device=weight.device)
        area = step * radii * 2 * math.pi / n_angular
        valid = weight > 0
        rings = valid.any(dim=2).sum(dim=1) * min(1.0, step)
        return rings.clamp_min(1.0), (valid.sum(dim=2) * area.clamp_max(1.0)).sum(dim=1)

    def _displacement(self, unwrapped: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Where the centre is from here, ``(n, 2)``, and its standard error, by one step of least squares.

        Seen from a point, the pattern of a centre that is d away is f(r) - f'(r) u.d with f the mean over the ring, u
        the direction of the sample. With e the residual and g = f' (u - mean of u over the ring), each with weight w,
        d = -F^-1 sum w e g, F = sum w g g^T; its covariance F^-1 (sum w^2 e^2 g g^T) F^-1. Samples closer than a pixel
        are not independent: that sum times their number a pixel.
        """
        values, weight = unwrapped[0].double(), unwrapped[1].double()
        n_radial, n_angular = values.shape[1:]
        amount = weight.sum(dim=2)
        some = amount > 0
        share = weight / amount.where(some, 1.0)[:, :, None]
        mean = (share * values).sum(dim=2)
        step = (self.r_max - self.r_min) / (n_radial - 1)
        slope = torch.zeros_like(mean)
        slope[:, 1:-1] = (mean[:, 2:] - mean[:, :-2]) / (2 * step) * (some[:, 2:] & some[:, :-2])
        angle = 2 * math.pi * torch.arange(n_angular, dtype=torch.float64, device=values.device) / n_angular
        # Rows run downwards: y = c_y - r sin(phi).
        along = torch.stack([-angle.sin(), angle.cos()])
        gradient = [slope[:, :, None] * (u - (share * u).sum(dim=2, keepdim=True)) for u in along]
        residual = values - mean[:, :, None]
        radii = torch.linspace(self.r_min, self.r_max, n_radial, dtype=torch.float64, device=values.device)
        # Interpolation leaves 4/9 of a pixel's variance, on average, and spreads it over the neighbours' samples.
        crowding = (9 / 4 * n_angular / (2 * math.pi * radii * step)).clamp(1, n_angular)
        noise = (weight * residual).square() * crowding[:, None]

        def matrix(factor: Tensor) -> Tensor:
            yy, yx, xx = ((factor * gradient[a] * gradient[b]).sum(dim=(1, 2)) for a, b in ((0, 0), (0, 1), (1, 1)))
            return torch.stack([yy, yx, yx, xx], dim=1).view(-1, 2, 2)

        inverse = torch.linalg.pinv(matrix(weight).nan_to_num(0.0))
        force = torch.stack([(weight * residual * g).sum(dim=(1, 2)) for g in gradient], dim=1)
        error = (inverse @ matrix(noise) @ inverse).diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        return -(inverse @ force[:, :, None])[:, :, 0], error


def _explained(unwrapped: Tensor, weight: Tensor) -> Tensor:
    """R^2 ``(n,)`` float64, 0 where nothing varies."""
    amount = weight.sum(dim=2)
    mean = (weight * unwrapped).sum(dim=2) / amount.clamp_min(1e-30)
    whole = (amount * mean).sum(dim=1) / amount.sum(dim=1).clamp_min(1e-30)
    between = (amount * (mean - whole[:, None]).square()).sum(dim=1).double()
    within = (weight * (unwrapped - mean[:, :, None]).square()).sum(dim=(1, 2)).double()
    total = between + within
    return torch.where(total > 0, between / total.where(total > 0, 1.0), 0)
