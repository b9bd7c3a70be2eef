"""The check that every job makes before it computes: only finite pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import FrameError
from .frames import Frames


def check_finite(
    images: ArrayLike,
    mask: NDArray[np.bool_] | None = None,
    first_index: int | NDArray[np.integer[Any]] = 0,
    source: Frames | str | None = None,
) -> None:
    """Refuse NaN and infinite values in pixels that count; under the mask they are fine.

    Parameters
    ----------
    images : array_like, (n, H, W)
        A batch of frames of any real type; integers pass at once. A CPU tensor counts as an array.
    mask : ndarray of bool, (H, W) or (n, H, W), optional
        True = good pixel; the others are not looked at.
    first_index : int or ndarray of int, (n,)
        Index in the stack of the first frame, or of each.
    source : Frames or str, optional
        Where the batch comes from; with `Frames` the message names the file and the index in it.

    Raises
    ------
    FrameError
        Names the first such frame, counts its bad pixels and says what to do.
    """
    batch = np.asarray(images)
    if batch.dtype.kind != "f":
        return
    finite = np.isfinite(batch)
    if finite.all():
        return
    if mask is not None:
        finite |= ~mask
    counts = finite[0].size - np.count_nonzero(finite, axis=(1, 2))
    wrong = np.flatnonzero(counts)
    if not len(wrong):
        return
    frame = int(wrong[0])
    index = first_index + frame if isinstance(first_index, int) else int(first_index[frame])
    pixel = tuple(int(i) for i in np.argwhere(~finite[frame])[0])
    problem = (
        f"{counts[frame]} pixels are NaN or infinite{' outside the mask' if mask is not None else ''}, "
        f"the first at (y, x) = {pixel} ({len(wrong)} of the batch's {len(batch)} frames have such pixels); expected "
        "finite values: pass a mask that marks these pixels bad, or clean the frames"
    )
    if isinstance(source, Frames):
        path, dataset, local = source.locate(index)
        raise FrameError(problem, path=path, dataset=dataset, index=local)
    raise FrameError(problem, path=source, index=index)
