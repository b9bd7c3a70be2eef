"""Common mode: the offset that all pixels of an ASIC, row or column share in one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from .groups import GroupTable
from .robust import row_median, row_mode, sorted_rows

Method = Literal["median", "mode"]


@dataclass(frozen=True, eq=False)
class CommonMode:
    """How the common mode is found.

    Attributes
    ----------
    groups : Tensor of int64, (H, W)
        Label of the group of each pixel, as :func:`pixel_groups` makes them; negative: no common mode.
    method : {"median", "mode"}
        ``"median"``: of the group's pixels. If a share f of them is lit, it lies :math:`\\sigma \\Phi^{-1}(0.5/(1-f))`
        too high (0.3 sigma for a fifth), sigma being the noise of a pixel. ``"mode"``: the centre of the peak of the
        unlit pixels (:func:`cdifast.calibrate.robust.row_mode`), which lit pixels do not move as long as more than a
        quarter is unlit and their signal is beyond 2 sigma; its own noise is somewhat larger.
    pixels : Tensor of bool, (H, W), optional
        The pixels to find it from, for example a strip that no light reaches. Default: all good ones.
    min_pixels : int
        A group with fewer usable pixels in a frame has no common mode there, and all its pixels count as bad: a
        value that should have been corrected and was not is not to be trusted.

    Raises
    ------
    TypeError, ValueError
        If a tensor has another type or shape, ``method`` is unknown or ``min_pixels`` is less than 1.
    """

    groups: Tensor
    method: Method = "mode"
    pixels: Tensor | None = None
    min_pixels: int = 8

    def __post_init__(self) -> None:
        if self.groups.dtype != torch.int64 or self.groups.dim() != 2:
            raise TypeError(
                f"CommonMode: groups is {self.groups.dtype} {tuple(self.groups.shape)}; expected int64 (H, W)"
            )
        if self.method not in ("median", "mode"):
            raise ValueError(f"CommonMode: found method {self.method!r}; expected 'median' or 'mode'")
        if self.min_pixels < 1:
            raise ValueError(f"CommonMode: found min_pixels {self.min_pixels}; expected at least 1")
        if self.pixels is not None and (self.pixels.dtype != torch.bool or self.pixels.shape != self.groups.shape):
            raise ValueError(
                f"CommonMode: pixels is {self.pixels.dtype} {tuple(self.pixels.shape)}; expected bool "
                f"{tuple(self.groups.shape)} as groups"
            )

    @property
    def count(self) -> int:
        """Number of groups: the largest label plus one."""
        return max(0, int(self.groups.max()) + 1) if self.groups.numel() else 0

    def to(self, device: torch.device | str) -> Self:
        """The same with its tensors on a device."""
        pixels = None if self.pixels is None else self.pixels.to(device)
        return replace(self, groups=self.groups.to(device), pixels=pixels)


def find_common_mode(
    values: Tensor, good: Tensor, tables: list[GroupTable], count: int, method: Method, min_pixels: int
) -> Tensor:
    """Common mode ``(n, count)`` of each group in each frame; NaN where too few pixels are good.

    Parameters
    ----------
    values : Tensor of float32, (n, H, W)
        Frames without their dark level.
    good : Tensor of bool, (n, H, W)
    tables : list of GroupTable
        The usable pixels of each group.
    count, method, min_pixels
        As in `CommonMode`.
    """
    found = values.new_full((len(values), count), torch.nan)
    flat, flat_good = values.flatten(1), good.flatten(1)
    for table in tables:
        shape = (len(values), *table.pixels.shape)
        index = table.pixels.flatten()
        usable = flat_good.index_select(1, index).view(shape) & table.present
        ordered, number = sorted_rows(flat.index_select(1, index).view(shape), usable)
        location = row_median(ordered, number) if method == "median" else row_mode(ordered, number)[0]
        found[:, table.labels] = torch.where(number >= min_pixels, location, torch.nan)
    return found
