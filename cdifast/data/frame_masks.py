"""Masks that differ from frame to frame: a stack of integers beside the frames."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .masks import MaskRule
from .source import FrameSource

# Masks are read in parts of this size: uint32 for a megapixel detector is as large as the frames.
_PART_BYTES: Final = 1 << 26


class FrameMasks:
    """The good pixels of each frame.

    Parameters
    ----------
    source : FrameSource
        The masks, integers, read as frames are: its shape is that of the frames.
    rule : MaskRule
        Which bits are bad.
    """

    def __init__(self, source: FrameSource, rule: MaskRule) -> None:
        self._source = source
        self._rule = rule

    @property
    def why(self) -> str:
        """Where the masks are, and the rule, for people to read."""
        return f"a mask for each frame from {self._source.dataset} ({self._rule.name})"

    def mark(self, indices: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
        """Set to False in ``good`` (len(indices), H, W) what is bad in these frames.

        Raises
        ------
        FrameError
            A mask cannot be read or decoded; file, data set and frame are named.
        """
        source = self._source
        step = max(1, _PART_BYTES // max(1, source.shape[1] * source.shape[2] * source.dtype.itemsize))
        buffer = np.empty((min(step, len(indices)), *source.shape[1:]), dtype=source.dtype)
        for start in range(0, len(indices), step):
            part = indices[start : start + step]
            bits: NDArray[Any] = buffer[: len(part)]
            source.read(part, bits)
            place = f"{source.path}, data set '{source.dataset}'"
            good[start : start + step] &= self._rule.good(bits, place=place)

    def close(self) -> None:
        """Close the handle of this process."""
        self._source.close()
