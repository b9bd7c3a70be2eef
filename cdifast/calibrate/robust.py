"""Location and scale of samples of which a part is signal: median and mode of sorted rows."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

GAUSSIAN_MAD: Final = 1.4826022185056018
"""Standard deviation of a Gaussian over its median absolute deviation, 1 / Phi^-1(3/4)."""

_STEPS: Final = 5  # of the mean shift: after three it moves by less than a hundredth of the scale
_REACH: Final = 2.0  # half-width of its window in units of the scale
_ONE_SIGMA: Final = math.erf(math.sqrt(0.5))


def normal_quantile(probability: float) -> float:
    """Phi^-1: a standard normal variable lies below it with the given probability."""
    return float(torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)))


def sorted_rows(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``(..., m)`` in ascending order, invalid values last and infinite; and how many are valid ``(...)``."""
    ordered = torch.where(valid, values, torch.inf)
    if ordered.device.type == "cpu":
        ordered.numpy().sort(axis=-1)  # twenty times as fast as torch, which also sorts indices
    else:
        ordered = ordered.sort(dim=-1).values
    return ordered, valid.sum(dim=-1)


def row_median(ordered: Tensor, count: Tensor) -> Tensor:
    """Median of the first ``count`` values of each row, the mean of the middle two; NaN where there is none.

    Parameters
    ----------
    ordered : Tensor, (..., m)
        Ascending, as :func:`sorted_rows` returns it.
    count : Tensor of int64, (...)
    """
    if not ordered.shape[-1]:
        return torch.full_like(count, torch.nan, dtype=ordered.dtype)
    low = ((count - 1).clamp_min(0) // 2)[..., None]
    high = (count // 2)[..., None]
    middle = (ordered.gather(-1, low) + ordered.gather(-1, high))[..., 0] / 2
    return torch.where(count > 0, middle, torch.nan)


def row_mode(ordered: Tensor, count: Tensor, share: float = 0.25) -> tuple[Tensor, Tensor]:
    r"""Mode of each row, and the scale of the peak round it: what the unlit pixels say, if there are enough.

    The middle of the narrowest interval that holds ``share`` of the values ("shorth" for a half: Andrews et al., 1972)
    is where the search starts. Five times over, the scale is then found from the values below the location alone, whose
    distances from it are within one standard deviation for 68.3 % of a Gaussian, and the location becomes the mean of
    the values within two scales (mean shift). Values far above the peak have no influence at all, where the median of
    a Gaussian of which a share f is replaced by larger values moves up by :math:`\sigma \Phi^{-1}(0.5 / (1 - f))`. The
    peak must hold more than ``share`` of the values, and be the narrowest such.

    Parameters
    ----------
    ordered : Tensor, (..., m)
        Ascending, as :func:`sorted_rows` returns it.
    count : Tensor of int64, (...)
        How many of the row's values count.
    share : float
        In (0, 1).

    Returns
    -------
    location, scale : Tensor, (...)
        NaN where ``count`` is 0.
    """
    length = ordered.shape[-1]
    window = (count * share).ceil().long().clamp_min(2).minimum(count.clamp_min(1))[..., None]
    last = torch.arange(length, device=ordered.device) + (window - 1)
    width = ordered.gather(-1, last.clamp_max(length - 1)) - ordered
    width = torch.where(last < count[..., None], width, torch.inf)
    narrowest, start = width.min(dim=-1, keepdim=True)
    location = ordered.gather(-1, start) + narrowest / 2
    scale = narrowest / (2 * normal_quantile((1 + share) / 2))
    # Sums over an interval of sorted values are differences of running sums.
    running = torch.nn.functional.pad(ordered.double().cumsum(dim=-1), (1, 0))
    for _ in range(_STEPS):
        below = torch.searchsorted(ordered, location)
        scale = location - ordered.gather(-1, (below * (1 - _ONE_SIGMA)).long())
        low = torch.searchsorted(ordered, location - _REACH * scale)
        high = torch.searchsorted(ordered, location + _REACH * scale, right=True)
        total = running.gather(-1, high) - running.gather(-1, low)
        location = torch.where(high > low, (total / (high - low).clamp_min(1)).to(ordered.dtype), location)
    empty = count == 0
    return torch.where(empty, torch.nan, location[..., 0]), torch.where(empty, torch.nan, scale[..., 0])


def median(values: Tensor) -> Tensor:
    """Median of all finite values, the mean of the middle two; NaN where there is none. A scalar."""
    flat = values.flatten()
    return row_median(*sorted_rows(flat, flat.isfinite()))


def gaussian_tail(deviations: Tensor) -> Tensor:
    """Probability that a standard normal variable exceeds each value."""
    return 0.5 * torch.special.erfc(deviations / math.sqrt(2))
