"""Dark level, noise and bad pixels from frames without beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from cdifast.data.masks import CXI_BITS

from .groups import group_tables
from .robust import GAUSSIAN_MAD, row_median, sorted_rows
from .statistics import PixelMoments

_FEWEST: Final = 32  # pixels of a group that speak for themselves
_FEWEST_COUNTS: Final = 25  # none by chance: exp(-25)


@dataclass(frozen=True)
class BadPixelRules:
    """When a pixel is bad, by its dark frames. All comparisons are within the pixel's group.

    Attributes
    ----------
    hot : float
        Dark level above the median level by more than this many standard deviations of the levels (from their median
        absolute deviation; at least the group's median noise). CXI bit 0x4.
    noisy : float
        Noise above the median noise by more than this many standard deviations of the noises, and by half of it.
        CXI bit 0x400.
    dead : float
        Noise below this share of the median noise: the pixel does not react. CXI bit 0x8. Not asked where integers
        deviate so rarely that a pixel may have seen nothing by chance: fewer than 25 squared units in all.
    unstable : float
        Share of values beyond the limits of :class:`PixelStatistics` above which a pixel counts as noisy (a pixel
        that jumps between two levels). CXI bit 0x400.

    A pixel without two values that count is missing, CXI bit 0x200.
    """

    hot: float = 10.0
    noisy: float = 6.0
    dead: float = 0.2
    unstable: float = 0.05


class DarkResult(NamedTuple):
    """What dark frames say.

    Attributes
    ----------
    dark, noise : Tensor of float32, (H, W)
        Level and standard deviation in raw units.
    mask : Tensor of int32, (H, W)
        CXI bits, 0 = good.
    """

    dark: Tensor
    noise: Tensor
    mask: Tensor

    def counts(self) -> dict[str, int]:
        """How many pixels have each of the bits."""
        names = ("hot", "noisy", "dead", "missing")
        return {name: int(((self.mask & CXI_BITS[name]) != 0).sum()) for name in names}


def dark_calibration(
    moments: PixelMoments, *, rules: BadPixelRules | None = None, groups: Tensor | None = None
) -> DarkResult:
    """Dark level, noise and bad pixels from the statistics of dark frames.

    Parameters
    ----------
    moments : PixelMoments
        From :class:`PixelStatistics` over the dark frames.
    rules : BadPixelRules, optional
    groups : Tensor of int64, (H, W), optional
        Labels of the pixels that are compared with each other, as :func:`pixel_groups` makes them: tiles of one
        detector often differ by more than their pixels do. Negative: compared with none. Default: all with all. Groups
        of fewer than 32 pixels are compared with all.

    Raises
    ------
    ValueError
        If ``groups`` has another shape, or no pixel has two values that count.
    """
    rules = rules or BadPixelRules()
    level, noise = moments.mean, moments.deviation
    known = noise.isfinite()
    if not bool(known.any()):
        raise ValueError("dark_calibration: no pixel has two values that count; expected at least 2 dark frames")
    if groups is not None and groups.shape != level.shape:
        raise ValueError(f"dark_calibration: groups is {tuple(groups.shape)}; expected {tuple(level.shape)}")
    # Sum of squared deviations, in units of what a frame can tell.
    seen = (
        moments.counted * (noise / moments.quantum).square() if moments.quantum else torch.full_like(noise, torch.inf)
    )
    # Limits of hot, noisy and dead for every pixel: the detector's, then those of each group that is large enough.
    limits = level.new_empty(3, level.numel())
    together = torch.zeros(level.shape, dtype=torch.int64, device=level.device)
    for labels in (together, groups):
        for table in [] if labels is None else group_tables(labels, known):
            of_level, of_noise, of_seen = (t.flatten()[table.pixels] for t in (level, noise, seen))
            found = _limits(of_level, of_noise, of_seen, table.present, rules)
            enough = (table.present.sum(dim=1) >= (1 if labels is together else _FEWEST))[:, None] & table.present
            limits[:, table.pixels[enough]] = found[..., None].expand(3, *enough.shape)[:, enough]
    highest_level, highest_noise, lowest_noise = limits.view(3, *level.shape)
    # What is not known compares as False, and is missing.
    noisy = (noise > highest_noise) | (moments.rejected_share > rules.unstable)
    mask = torch.zeros(level.shape, dtype=torch.int32, device=level.device)
    mask += (known & (level > highest_level)) * CXI_BITS["hot"]
    mask += (known & noisy) * CXI_BITS["noisy"]
    mask += (known & (noise < lowest_noise)) * CXI_BITS["dead"]
    mask += ~known * CXI_BITS["missing"]
    return DarkResult(level.float(), noise.float(), mask)


def _limits(level: Tensor, noise: Tensor, seen: Tensor, present: Tensor, rules: BadPixelRules) -> Tensor:
    """Highest level, highest and lowest noise ``(3, g)`` of groups ``(g, m)`` of pixels."""
    level_middle, level_spread = _middle_and_spread(level, present)
    noise_middle, noise_spread = _middle_and_spread(noise, present)
    # Most pixels of a counting detector are always 0 in the dark: then the few counts say what a level is worth.
    quiet = noise_middle == 0
    mean = torch.where(present, noise, 0).sum(dim=1) / present.sum(dim=1)
    hot = level_middle + rules.hot * torch.maximum(level_spread, torch.where(quiet, mean, noise_middle))
    noisy = torch.maximum(noise_middle + rules.noisy * noise_spread, 1.5 * noise_middle)
    enough = row_median(*sorted_rows(seen, present)) >= _FEWEST_COUNTS
    return torch.stack([hot, torch.where(quiet, torch.inf, noisy), torch.where(enough, rules.dead * noise_middle, 0)])


def _middle_and_spread(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Median of each row, and its median absolute deviation as a Gaussian standard deviation."""
    middle = row_median(*sorted_rows(values, present))
    return middle, GAUSSIAN_MAD * row_median(*sorted_rows((values - middle[:, None]).abs(), present))
