"""Checks that every network makes of its arguments and of the images it is given."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch


def check_sizes(depth: int, depths: Iterable[int], num_classes: int, in_channels: int, width: float) -> None:
    """Refuse a depth that is none of `depths`, and numbers out of range, with a ValueError that names the argument."""
    if depth not in depths:
        raise ValueError(f"depth: found {depth}, expected one of {', '.join(map(str, depths))}")
    if num_classes < 1:
        raise ValueError(f"num_classes: found {num_classes}, expected at least 1")
    if in_channels < 1:
        raise ValueError(f"in_channels: found {in_channels}, expected at least 1")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width: found {width}, expected a positive number")


def check_images(x: torch.Tensor, in_channels: int) -> None:
    """Refuse what is no batch (N, in_channels, H, W) of floating numbers.

    Raises
    ------
    ValueError
        Wrong rank or number of channels.
    TypeError
        Not a floating-point tensor.
    """
    if x.dim() != 4:
        hint = "; add the channel axis with images[:, None]" if x.dim() == 3 else ""
        raise ValueError(f"images: found shape {tuple(x.shape)}, expected (N, {in_channels}, H, W){hint}")
    if x.shape[1] != in_channels:
        raise ValueError(
            f"images: found {x.shape[1]} channels in shape {tuple(x.shape)}, this network takes {in_channels}"
        )
    if not x.is_floating_point():
        raise TypeError(
            f"images: found dtype {x.dtype}, expected a floating one; "
            "cdifast.data.prepare turns detector frames into network input"
        )
