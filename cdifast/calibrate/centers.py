"""What the two ways to a pattern's centre share: arguments and results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from .comparisons import finite
from .robust import GAUSSIAN_MAD, row_median, sorted_rows

Compression = Literal["sqrt", "log", "none"]
Guess = Sequence[float] | Tensor | None

_CLIPPED: Final = 1e-3


class Centers(NamedTuple):
    """Centres of ``n`` patterns. All float64; NaN, with score 0, where none was found.

    Attributes
    ----------
    center : Tensor, (n, 2)
        (y, x) in pixels, pixel centres on integers.
    score : Tensor, (n,)
        Figure of merit, 0 to 1; each method says what it is.
    uncertainty : Tensor, (n, 2)
        Standard error in pixels that noise alone would cause, from the sharpness of the score's peak. What makes the
        pattern itself asymmetric is not in it.
    share : Tensor, (n,)
        Share of the good pixels (Friedel) or samples (rings) that took part.
    """

    center: Tensor
    score: Tensor
    uncertainty: Tensor
    share: Tensor


def as_images(who: str, images: Tensor, good: Tensor | None) -> tuple[Tensor, Tensor]:
    """Images ``(n, H, W)`` and a mask ``(1 or n, H, W)``; NaN and infinite pixels are not good.

    Raises
    ------
    TypeError
        If ``images`` is no real tensor or ``good`` no tensor of bool.
    ValueError
        If a shape or device does not fit.
    """
    if not isinstance(images, Tensor) or images.is_complex() or images.dtype == torch.bool:
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{who}: images is {found}; expected a tensor of real numbers (n, H, W)")
    if images.dim() == 2:
        images = images[None]
    if images.dim() != 3 or 0 in images.shape[1:]:
        raise ValueError(f"{who}: images is {tuple(images.shape)}; expected (n, H, W)")
    images = images.detach()
    if good is None:
        good = torch.ones((1, *images.shape[1:]), dtype=torch.bool, device=images.device)
    elif not isinstance(good, Tensor) or good.dtype != torch.bool:
        found = good.dtype if isinstance(good, Tensor) else type(good).__name__
        raise TypeError(f"{who}: good is {found}; expected a tensor of bool, True = good")
    elif good.shape not in (images.shape, images.shape[1:]) or good.device != images.device:
        raise ValueError(
            f"{who}: good is {tuple(good.shape)} on {good.device}; expected {tuple(images.shape)} or "
            f"{tuple(images.shape[1:])} on {images.device}"
        )
    good = good if good.dim() == 3 else good[None]
    if images.is_floating_point():
        # float64 beyond float32, in which all is computed, is no number either.
        usable = finite(images)
        if not bool(usable.all()):
            good = good & usable
    return images, good


def as_guess(who: str, guess: Guess, images: Tensor) -> Tensor:
    """Guesses ``(n, 2)`` float64 on the images' device; the middle of the image by default."""
    count, height, width = images.shape
    if guess is None:
        guess = ((height - 1) / 2, (width - 1) / 2)
    points = torch.as_tensor(guess, dtype=torch.float64, device=images.device)
    if points.shape not in ((2,), (count, 2)) or not bool(points.isfinite().all()):
        raise ValueError(f"{who}: guess is {tuple(points.shape)}; expected finite (y, x), as (2,) or ({count}, 2)")
    return points.expand(count, 2)


def as_search(who: str, search: float | None, shape: Sequence[int]) -> float:
    """Half the side of the square to search, an eighth of the image's shorter side by default."""
    reach = max(1.0, min(shape[-2:]) / 8) if search is None else float(search)
    if not 1 <= reach < math.inf:
        raise ValueError(f"{who}: search is {search}; expected at least 1 pixel")
    return reach


def prepare(images: Tensor, good: Tensor, compression: Compression) -> Tensor:
    """Values to find a centre in: float32, of mean 0 and variance 1 over the good pixels of each image, else 0.

    Of each image the brightest thousandth of the good pixels is cut to one height: hot pixels lose their say, and of a
    pattern that takes the tip off a peak whose centre it leaves. Compression then keeps the brightest pixels from
    deciding alone; it is odd and leaves 0. ``"sqrt"`` gives photon counts a noise that does not depend on them
    (Anscombe), ``"log"`` goes further, ``"none"`` leaves the values.
    """
    values = torch.where(good, images.to(torch.float32), 0)
    ordered, count = sorted_rows(values.flatten(1), good.expand(values.shape).flatten(1))
    place = (count * (1 - _CLIPPED)).ceil().long().clamp_min(1) - 1
    values = torch.minimum(values, ordered.gather(1, place[:, None])[:, :, None])
    match compression:
        case "sqrt":
            values = values.sign() * ((values.abs() + 0.375).sqrt() - math.sqrt(0.375))
        case "log":
            values = values.sign() * values.abs().log1p()
        case "none":
            pass
        case _:
            raise ValueError(f"found compression {compression!r}; expected 'sqrt', 'log' or 'none'")
    count = count.clamp_min(1)[:, None, None]
    mean = torch.where(good, values, 0).sum(dim=(1, 2), keepdim=True, dtype=torch.float64) / count
    values = torch.where(good, values - mean.to(torch.float32), 0)
    # In units of the largest, so that squares stay finite.
    largest = values.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    values /= largest
    variance = values.square().sum(dim=(1, 2), keepdim=True, dtype=torch.float64) / count
    return values / variance.clamp_min(torch.finfo(torch.float32).tiny).sqrt().to(torch.float32)


def combine_centers(found: Centers, *, least_score: float = 0.0) -> tuple[Tensor, Tensor]:
    """The one centre of a run whose geometry did not change.

    Parameters
    ----------
    found : Centers
        Of the run's hits.
    least_score : float
        Centres of a lower score are left out.

    Returns
    -------
    center : Tensor of float64, (2,)
        Medians of y and x; NaN if no centre is left.
    uncertainty : Tensor of float64, (2,)
        Standard error of a Gaussian's median, :math:`1.2533 s / \\sqrt n`, s from the median absolute deviation: what
        the shots say themselves, asymmetric ones included. NaN for fewer than two centres.
    """
    kept = found.center[found.center.isfinite().all(dim=1) & (found.score >= least_score)].T.contiguous()
    everything = torch.ones_like(kept, dtype=torch.bool)
    middle = row_median(*sorted_rows(kept, everything))
    spread = GAUSSIAN_MAD * row_median(*sorted_rows((kept - middle[:, None]).abs(), everything))
    error = math.sqrt(math.pi / 2) * spread / math.sqrt(max(1, kept.shape[1]))
    return middle, error if kept.shape[1] > 1 else torch.full_like(error, torch.nan)


def nothing(count: int, device: Any) -> Centers:
    """Room for ``count`` centres, none found yet."""
    pair, one = torch.full((2, count, 2), torch.nan), torch.zeros(2, count)
    center, uncertainty = pair.to(device, torch.float64)
    score, share = one.to(device, torch.float64)
    return Centers(center, score, uncertainty, share)
