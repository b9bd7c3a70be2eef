"""Reducing frames to the network's size: exact filters as products with narrow blocks of their matrices.

A filter's matrix (S x H) has a few entries a row, all near its diagonal, so the dense product wastes nine tenths of its
work. Taken in blocks of rows, each block touches a window of pixels hardly wider than what the block covers. The blocks
of many frames are one batched product: each call of a threaded product waits for its threads, which costs more than a
small product where another thread (a training step) wants the cores too.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
import torch

Filter = Literal["box", "triangle"]

_BLOCK: Final = 32  # rows of the matrix in one product, at most: enough for the kernels, few for the waste
_GROUP_PIXELS: Final = 1 << 22  # converted to float32 at once, 16 MiB: stays in a shared cache


class _Block(NamedTuple):
    """Cells ``start:stop`` as the product of ``weights`` (cells, pixels) and pixels ``first:last``.

    All blocks have as many rows; those beyond the last cell are 0.
    """

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
            self._held = 0
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
        blocks, cells = len(self._row_blocks), len(self._row_blocks[0].weights)
        if self._held < min(count, self._group):
            self._held = min(count, self._group)
            self._pixels = torch.empty(self._held, *self.shape)
            self._half = torch.empty(self._held * blocks * cells * self.shape[1])
            self._cells = torch.empty(self._held * blocks * cells * self.size)
        out = torch.empty(count, blocks, cells, self.size)
        for start in range(0, count, self._group):
            stop = min(start + self._group, count)
            pixels = self._pixels[: stop - start].copy_(frames[start:stop])
            if bad is not None:
                pixels.masked_fill_(bad if len(bad) == 1 else bad[start:stop], 0)
            self._reduce(pixels, out[start:stop])
        return out.view(count, blocks * cells, self.size)[:, : self.size].contiguous()

    def _reduce(self, pixels: torch.Tensor, out: torch.Tensor) -> None:
        """Rows first: what is left then has half the size and less. ``out`` is (n, blocks, cells, S)."""
        count, blocks, cells, size = out.shape
        width = self.shape[1]
        # Blocks lead, so that each product's result is one piece of memory: only then is it batched.
        half = self._half[: count * blocks * cells * width].view(blocks, count, cells, width)
        for number, block in enumerate(self._row_blocks):
            window = pixels[:, block.first : block.last]
            torch.bmm(block.weights.expand(count, -1, -1), window, out=half[number])
        lines = half.view(-1, width)
        result = self._cells[: count * blocks * cells * size].view(-1, size)
        for block in self._column_blocks:
            weights = block.transposed[:, : block.stop - block.start]
            torch.mm(lines[:, block.first : block.last], weights, out=result[:, block.start : block.stop])
        out.copy_(result.view(blocks, count, cells, size).transpose(0, 1))


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
    """Equal blocks of rows with the window of columns in which they have entries; an empty window has one column."""
    count = math.ceil(len(matrix) / _BLOCK)
    size = math.ceil(len(matrix) / count)
    blocks = []
    for start in range(0, count * size, size):
        rows = matrix[start : start + size]
        used = rows.any(dim=0).nonzero().flatten()
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        weights = torch.zeros(size, last - first)
        weights[: len(rows)] = rows[:, first:last]
        blocks.append(_Block(start, start + len(rows), first, last, weights, weights.T.contiguous()))
    return blocks
