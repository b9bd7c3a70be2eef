"""Some frames of a stack as a stack of their own."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .frames import Frames


class SelectedFrames(Frames):
    """Chosen frames of a stack, in the order chosen: what any job takes in place of the whole stack.

    Nothing is read or copied. Messages name files and the index in them; ``events`` are those of the chosen frames.
    The stack it comes from must stay open, and its mask is kept: where masks differ from frame to frame, ``mask`` still
    speaks for the whole stack.

    Parameters
    ----------
    frames : Frames
    indices : slice, list of int or boolean array
        As for `Frames.read`.

    Raises
    ------
    IndexError
        Out of range, or not indices.
    ValueError
        None chosen, or one frame twice.

    Examples
    --------
    >>> with open_frames("run7.cxi") as frames:  # doctest: +SKIP
    ...     write_predictions(SelectedFrames(frames, [3, 17]), "model/weights.safetensors", "two.h5")
    """

    def __init__(self, frames: Frames, indices: slice | ArrayLike) -> None:
        chosen = Frames._rows(frames, indices)  # places in this stack, which may itself be a selection
        if not len(chosen):
            raise ValueError(f"indices: found none, expected at least one of the {len(frames)} frames")
        values, counts = np.unique(chosen, return_counts=True)
        if counts.max() > 1:
            raise ValueError(f"indices: found frame {values[counts.argmax()]} more than once")
        self.__dict__.update(frames.__dict__)
        self._chosen = chosen
        self._whole = frames
        self.shape = (len(chosen), *frames.shape[1:])
        self.labels = None if frames.labels is None else frames.labels[chosen]
        self.energy = None if frames.energy is None else frames.energy[chosen]
        self.why = f"{frames.why}; {len(chosen)} of {len(frames)} frames chosen"

    @property
    def chunks(self) -> NDArray[np.int64]:
        """As `Frames.chunks`, of the chosen frames."""
        return self._whole.chunks[self._chosen]

    @property
    def events(self) -> NDArray[np.void]:
        """As `Frames.events`, of the chosen frames."""
        return self._whole.events[self._chosen]

    def fingerprint(self) -> dict[str, str | int]:
        """As `Frames.fingerprint`, and which frames were chosen."""
        digest = hashlib.sha256(self._chosen.astype("<i8").tobytes()).hexdigest()[:16]
        return {**self._whole.fingerprint(), "frames": f"{len(self._chosen)} chosen ({digest})"}

    def _rows(self, indices: Any) -> NDArray[np.int64]:
        return self._whole._rows(self._chosen[super()._rows(indices)])
