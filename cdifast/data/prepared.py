"""Prepared images of a whole stack, with what contrastive views need beside: valid pixels and beam centre."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .finite import check_finite
from .frames import Frames
from .prepare import InputPreparation, Preparer

Center = tuple[float, float]


def prepare_with_masks(
    frames: Frames,
    preparation: InputPreparation,
    chosen: NDArray[np.int64] | None = None,
    *,
    chunk: int = 64,
    progress: Callable[[int], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Turn frames into network input and keep which pixels hold data.

    Parameters
    ----------
    frames
        Their own masks are used.
    preparation
        Size and scaling.
    chosen
        Places of the frames wanted, (N,); None: all.
    chunk
        Frames read at once.
    progress
        Called with the number of frames done.

    Returns
    -------
    images : torch.Tensor
        (N, 1, S, S) float32 on the CPU, as `cdifast.data.prepare_frames` gives them.
    valid : torch.Tensor or None
        bool, (S, S), or (N, S, S) where masks differ from frame to frame; None: all pixels are valid.

    Raises
    ------
    FrameError
        Frames that cannot be read, or NaN or infinity in a good pixel.
    """
    total, height, width = frames.shape
    count = total if chosen is None else len(chosen)
    shape, size = (height, width), preparation.size
    images = torch.empty(count, 1, size, size)
    whole = Preparer(shape, frames.mask, preparation)
    each = torch.empty(count, size, size, dtype=torch.bool) if frames.masks_differ else None
    for start in range(0, count, chunk):
        part = slice(start, min(start + chunk, count))
        some = part if chosen is None else chosen[part]
        raw = frames.read(some)
        preparer, good = whole, frames.mask
        if each is not None:
            good = frames.read_mask(some, images=raw)
            preparer = Preparer(shape, good, preparation, resizer=whole.resizer)
            each[part] = preparer.valid
        check_finite(raw, good, start if chosen is None else chosen[part], frames)
        images[part] = preparer.checked(raw)
        if progress is not None:
            progress(part.stop)
    valid = whole.valid[0] if each is None else each
    return images, None if bool(valid.all()) else valid


def prepared_center(center: Center, shape: tuple[int, int], size: int) -> Center:
    """Where a point of a frame lies in its prepared image.

    Parameters
    ----------
    center
        (y, x) in pixels of the frame, pixel centres on integers.
    shape
        (H, W) of the frame, which lies centred in a square of its longer side.
    size
        Side of the prepared image.

    Returns
    -------
    tuple of float
        (y, x) in pixels of the prepared image.
    """
    side = max(shape)
    y, x = (
        (place + 0.5 + (side - length) / 2) * size / side - 0.5 for place, length in zip(center, shape, strict=True)
    )
    return y, x


def prepared_centers(
    centers: NDArray[np.floating[Any]], shape: tuple[int, int], size: int, otherwise: Center | None = None
) -> torch.Tensor:
    """`prepared_center` of the centre of each frame.

    Parameters
    ----------
    centers
        (N, 2), NaN where none is known.
    shape, size
        As `prepared_center`.
    otherwise
        Centre, in pixels of the frame, of frames without one; None: the middle.

    Returns
    -------
    torch.Tensor
        (N, 2) float64.
    """
    place = ((shape[0] - 1) / 2, (shape[1] - 1) / 2) if otherwise is None else otherwise
    known = np.isfinite(centers).all(axis=1, keepdims=True)
    y, x = np.where(known, centers, place).T
    return torch.tensor(np.stack(prepared_center((y, x), shape, size), axis=1))
