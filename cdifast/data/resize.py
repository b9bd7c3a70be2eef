"""Reducing frames to the network's size: exact filters as products with narrow blocks of their matrices.

A filter's matrix (S x H) has a few entries a row, all near its diagonal, so the dense product wastes nine tenths of its
work. Taken in blocks of rows, each block touches a window of pixels hardly wider than what the block covers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
import torch

Filter = Literal["box", "triangle"]

_BLOCK: Final = 32  # rows of the matrix in one product: enough for the product's kernels, few for the waste
_GROUP_PIXELS: Final = 1 << 22  # converted to float32 at once, 16 MiB: stays in a shared cache


class _Block(NamedTuple):
    """Cells ``start:stop`` as the product of ``weights`` (cells, pixels) and pixels ``first:last``."""

    start: int
    stop: int
    first: int
    last: int
    weights: torch.Tensor
    transposed: torch.Tensor


class Resizer:
    """Reduces frames of one shape to S x S, where the frame lies centred in a square of its longer side.

    The pixels that complete the square weigh nothing: a frame of ones gives less than 1 in the outer cells, as bad
    pixels set to 0 do. Dividing by the same of a frame of ones (or of the mask) gives the mean over the good pixels.

    Instances keep their buffers, and are for one thread at a time.

    Parameters
    ----------
    height, width
        Of the frames.
    size
        Side S of the result.
    kind
        ``"box"``: the mean over each of S x S equal cells, pixels on a border shared by area. ``"triangle"``:
        weights fall linearly from a cell's centre to zero at a distance of one cell (or of one pixel where frames
        are magnified), with the border pixels repeated outwards where the frame fills the square: DALI's
        antialiased resize.
    device
        Where it is done.
    """

    def __init__(
        self, height: int, width: int, size: int, kind: Filter = "box", device: str | torch.device = "cpu"
    ) -> None:
        self.shape, self.size, self.device = (height, width), size, torch.device(device)
        side = max(height, width)
        self._rows, self._columns = (filter_matrix(length, size, side, kind) for length in (height, width))
        if self.device.type == "cpu":
            self._row_blocks, self._column_blocks = _blocks(self._rows), _blocks(self._columns)
            self._group = max(1, _GROUP_PIXELS // (height * width))
            self._pixels = torch.empty(0)
            self._half = torch.empty(0)
        else:  # a GPU has arithmetic to waste, not launches
            self._rows, self._columns = self._rows.to(self.device), self._columns.T.to(self.device)

    def __call__(self, frames: torch.Tensor, bad: torch.Tensor | None = None) -> torch.Tensor:
        """Reduce frames.

        Parameters
        ----------
        frames
            (N, H, W) of any real dtype, on any device. Not changed.
        bad
            (1 or N, H, W) bool on the resizer's device: pixels that count as 0, whatever they hold.

        Returns
        -------
        torch.Tensor
            (N, S, S) float32.
        """
        count = len(frames)
        if self.device.type != "cpu":
            values = frames.to(self.device).to(torch.float32, copy=bad is not None)
            if bad is not None:
                values.masked_fill_(bad, 0)
            return self._rows @ values @ self._columns
        height, width = self.shape
        out = torch.empty(count, self.size, self.size)
        if len(self._pixels) < min(count, self._group):
            self._pixels = torch.empty(min(count, self._group), height, width)
            self._half = torch.empty(min(count, self._group), self.size, width)
        for start in range(0, count, self._group):
            stop = min(start + self._group, count)
            pixels = self._pixels[: stop - start].copy_(frames[start:stop])
            if bad is not None:
                pixels.masked_fill_(bad if len(bad) == 1 else bad[start:stop], 0)
            self._reduce(pixels, self._half[: stop - start], out[start:stop])
        return out

    def _reduce(self, pixels: torch.Tensor, half: torch.Tensor, out: torch.Tensor) -> None:
        """Rows first: what is left then has half the size and less."""
        for block in self._row_blocks:
            torch.bmm(
                block.weights.expand(len(pixels), -1, -1),
                pixels[:, block.first : block.last],
                out=half[:, block.start : block.stop],
            )
        lines, cells = half.view(-1, half.shape[-1]), out.view(-1, self.size)
        for block in self._column_blocks:
            torch.mm(lines[:, block.first : block.last], block.transposed, out=cells[:, block.start : block.stop])


@lru_cache(maxsize=16)
def filter_matrix(length: int, cells: int, side: int, kind: Filter) -> torch.Tensor:
    """Weights of a line of pixels in each cell, (cells, length) float32.

    The `length` pixels lie centred in a line of `side` pixels that is cut into equal cells. A row sums to 1, or less
    where its cell reaches beyond the pixels.
    """
    before = (side - length) / 2
    pixels = np.arange(length)
    step = side / cells
    if kind == "box":
        edges = np.linspace(0, side, cells + 1) - before
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return torch.from_numpy((np.maximum(overlap, 0) / step).astype(np.float32))
    reach = max(step, 1.0)
    centres = (np.arange(cells) + 0.5) * step - 0.5 - before
    margin = int(np.ceil(reach + before)) + 1
    line = np.arange(-margin, length + margin)
    weights = np.maximum(0, 1 - np.abs(line - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = weights[:, margin:-margin]
    if length == side:
        inside[:, 0] += weights[:, :margin].sum(axis=1)
        inside[:, -1] += weights[:, -margin:].sum(axis=1)
    return torch.from_numpy(inside.astype(np.float32))


def _blocks(matrix: torch.Tensor) -> list[_Block]:
    """Blocks of rows with the window of columns in which they have entries; all-zero windows have one column."""
    blocks = []
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        used = rows.any(dim=0).nonzero().flatten()
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        weights = rows[:, first:last].contiguous()
        blocks.append(_Block(start, start + len(rows), first, last, weights, weights.T.contiguous()))
    return blocks
