"""Which pixels share a common mode: a label for each pixel, and tables to gather the pixels of a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Along = Literal["frame", "tile", "row", "column"]


def pixel_groups(shape: tuple[int, int], along: Along = "tile", tile: tuple[int, int] | None = None) -> Tensor:
    """Label the pixels that share one electronic offset.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the frames in pixels.
    along : {"frame", "tile", "row", "column"}
        One group for the frame, for each tile (ASIC), or for each row or column of each tile.
    tile : (int, int), optional
        Height and width of a tile; tiles start at (0, 0), and the last ones may be cut off. Default: the frame is
        one tile.

    Returns
    -------
    Tensor of int64, (H, W)
        Labels from 0, without gaps.

    Raises
    ------
    ValueError
        If a size is less than 1, or ``along`` is unknown.
    """
    height, width = shape
    tile_height, tile_width = shape if tile is None else tile
    if min(height, width, tile_height, tile_width) < 1:
        raise ValueError(f"pixel_groups: found shape {tuple(shape)} and tile {tile}; expected sizes of at least 1")
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    tiles_down, tiles_across = -(-height // tile_height), -(-width // tile_width)
    match along:
        case "frame":
            return torch.zeros(height, width, dtype=torch.int64)
        case "tile":
            return (y // tile_height) * tiles_across + x // tile_width
        case "row":
            return y * tiles_across + x // tile_width
        case "column":
            return x * tiles_down + y // tile_height
    raise ValueError(f"pixel_groups: found along={along!r}; expected 'frame', 'tile', 'row' or 'column'")


@dataclass(frozen=True)
class GroupTable:
    """The pixels of some groups of like size, for gathering.

    Attributes
    ----------
    labels : Tensor of int64, (g,)
    pixels : Tensor of int64, (g, m)
        Flat indices; padded with 0.
    present : Tensor of bool, (g, m)
        False for padding.
    """

    labels: Tensor
    pixels: Tensor
    present: Tensor


def group_tables(groups: Tensor, usable: Tensor) -> list[GroupTable]:
    """The usable pixels of every group; groups whose sizes differ by less than a factor of two share a table.

    Tables of like sizes bound the padding: no more than twice the frame's pixels are gathered, whatever the groups.

    Parameters
    ----------
    groups : Tensor of int64, (H, W)
        Labels; negative: in no group.
    usable : Tensor of bool, (H, W)
    """
    flat = torch.where(usable, groups, -1).flatten()
    chosen = torch.nonzero(flat >= 0)[:, 0]
    labels = flat[chosen]
    order = labels.argsort(stable=True)
    chosen, labels = chosen[order], labels[order]
    names, sizes = labels.unique_consecutive(return_counts=True)
    starts = sizes.cumsum(0) - sizes
    # floor(log2(size)), exactly: float32 would put 2^k - 1 with the 2^k for large k.
    classes = torch.frexp(sizes.double()).exponent
    tables = []
    for size_class in classes.unique().tolist():
        members = torch.nonzero(classes == size_class)[:, 0]
        place = torch.arange(int(sizes[members].max()), device=flat.device)
        present = place < sizes[members][:, None]
        index = torch.where(present, starts[members][:, None] + place, 0)
        tables.append(GroupTable(names[members], torch.where(present, chosen[index], 0), present))
    return tables
