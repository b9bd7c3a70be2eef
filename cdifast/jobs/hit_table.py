"""What `write_hits` wrote, read back for the frames that it is of: which of them hit, and their centres."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdifast.data import FrameError, Frames
from cdifast.data.hdf5 import hdf5_faults, open_hdf5

from .hits import GROUP
from .neighbours import check_same_events


@dataclass(frozen=True)
class HitTable:
    """Verdicts on N frames.

    Attributes
    ----------
    hit
        (N,) bool.
    centers
        (N, 2) float64, (y, x) in pixels; NaN where none was found. None: the file has none.
    """

    hit: NDArray[np.bool_]
    centers: NDArray[np.float64] | None


def read_hits(path: str | os.PathLike[str], frames: Frames) -> HitTable:
    """Read a file of `write_hits`.

    Parameters
    ----------
    path
        The file.
    frames
        Those that it must be of, in their order.

    Returns
    -------
    HitTable

    Raises
    ------
    FrameError
        A file that is damaged, of another kind, or of other frames.
    FileNotFoundError
        No such file.
    """
    path = Path(path)
    with hdf5_faults(path), open_hdf5(path) as file:
        group = file.get(GROUP)
        if group is None or "hit" not in group:
            raise FrameError(f"found no {GROUP}; expected a file that `cdifast hits` wrote", path=path)
        hit = group["hit"][:] != 0
        centers = group["center"][:].astype(np.float64) if "center" in group else None
        events = {name: values[:] for name, values in file.get("/entry_1/events", {}).items()}
    if len(hit) != len(frames):
        raise FrameError(
            f"found {len(hit)} verdicts for {len(frames)} frames; expected those of these frames", path=path
        )
    check_same_events(path, events, frames)
    return HitTable(hit, centers)
