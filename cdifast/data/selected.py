"""Some frames of a stack as network input: those that have labels, for example."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from .frames import Frames
from .prepare import InputPreparation, prepare_batch


def prepare_selected(
    frames: Frames,
    indices: ArrayLike,
    preparation: InputPreparation | None = None,
    *,
    chunk: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """What `prepare_frames` gives for these frames; no other frame is read.

    Parameters
    ----------
    frames
        The stack, with its masks.
    indices
        (n,) int, in any order.
    preparation
        Size and scaling; None: `InputPreparation()`.
    chunk
        Frames read at once.
    progress
        Called with (frames done, frames in all) after each chunk.

    Returns
    -------
    torch.Tensor
        (n, 1, S, S) float32 on the CPU.

    Raises
    ------
    IndexError
        An index out of range.
    ValueError
        NaN or infinity in a good pixel; frame and pixel are named.
    """
    preparation = preparation or InputPreparation()
    rows = np.asarray(indices, dtype=np.int64)
    inputs = torch.empty(len(rows), 1, preparation.size, preparation.size)
    for start in range(0, len(rows), chunk):
        chosen = rows[start : start + chunk]
        images = frames.read(chosen)
        good = frames.read_mask(chosen, images) if frames.masks_differ else frames.mask
        try:
            inputs[start : start + chunk] = prepare_batch(images, good, preparation)
        except ValueError:
            # It counted from the start of the chunk: the same again, frame by frame, to name the right one.
            for k, index in enumerate(chosen.tolist()):
                mask = good[k : k + 1] if good is not None and good.ndim == 3 else good
                prepare_batch(images[k : k + 1], mask, preparation, first_index=index, source=frames)
            raise
        if progress is not None:
            progress(min(start + chunk, len(rows)), len(rows))
    return inputs
