"""Reducing frames to the network's size by exact filters.

A filter's matrix (S x H) has a few entries a row, all near its diagonal. On the CPU `cdifast._C` takes them as what
they are, from any element type, each frame by one thread; a GPU multiplies by the whole matrix.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast import _C

Filter = Literal["box", "triangle"]

# What `_C.reduce_frames` reads; others are converted first.
_READ: Final = frozenset(
    (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float16, torch.float32, torch.float64)
)


class Resizer:
    """Reduces frames of one shape to S x S, where the frame lies centred in a square of its longer side.

    The pixels that complete the square weigh nothing: a frame of ones gives less than 1 in the outer cells, as bad
    pixels set to 0 do. Dividing by the same of a frame of ones (or of the mask) gives the mean over the good pixels.

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
        rows, columns = (filter_matrix(length, size, side, kind) for length in (height, width))
        if self.device.type == "cpu":
            first_row, row_weights = _taps(rows)
            first_column, column_weights = _taps(columns)
            self._taps = (first_row, row_weights, first_column, np.ascontiguousarray(column_weights.T))
        else:
            self._rows, self._columns = rows.to(self.device), columns.T.to(self.device)

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
        if self.device.type != "cpu":
            values = frames.to(self.device).to(torch.float32, copy=bad is not None)
            if bad is not None:
                values.masked_fill_(bad, 0)
            return self._rows @ values @ self._columns
        if frames.dtype not in _READ:
            frames = frames.to(torch.float32)
        out = torch.empty(len(frames), self.size, self.size)
        pixels = frames.detach().cpu().contiguous().numpy()
        marks = None if bad is None else bad.contiguous().numpy()
        _C.reduce_frames(pixels, marks, *self._taps, out.numpy())
        return out


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


def _taps(matrix: torch.Tensor) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A filter's entries: the first pixel of each cell, (cells,), and its weights from there on, (cells, taps).

    All cells have as many taps as the one with the most, and none names a pixel beyond the last.
    """
    weights = matrix.numpy()
    used = weights != 0
    first = used.argmax(axis=1)
    last = weights.shape[1] - used[:, ::-1].argmax(axis=1)
    taps = int(np.where(used.any(axis=1), last - first, 1).max())
    first = np.minimum(first, weights.shape[1] - taps)
    return first.astype(np.int32), np.take_along_axis(weights, first[:, None] + np.arange(taps), axis=1)
