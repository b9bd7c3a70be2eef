"""From frames to what a trained network sees, as the card of its weights says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cdifast.data import Frames
from cdifast.data.prepare import make_preparer, preparation_of
from cdifast.nn import ModelCard


class NetworkInput:
    """Turns batches of a stack's frames into network input, under the stack's mask or each frame's own.

    Parameters
    ----------
    card
        Of the weights; its `input` says how.
    source
        What to call the weights in messages.
    frames
        The stack; its shape and mask.
    device
        Where it is done.

    Raises
    ------
    ValueError
        The card does not say how frames were prepared.
    """

    def __init__(self, card: ModelCard, source: object, frames: Frames, device: str | torch.device = "cpu") -> None:
        try:
            self.preparation = preparation_of(card.input)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        self.shape = frames.shape[1:]
        self.device = device
        self._whole = make_preparer(self.shape, frames.mask, self.preparation, device)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input; it covers the square of a frame's longer side, the frame in its middle."""
        return self.preparation.size, self.preparation.size

    def __call__(self, images: NDArray[Any], good: NDArray[np.bool_] | None) -> torch.Tensor:
        """Frames (n, H, W) and good pixels, as `run_over_frames` gives them, to input (n, channels, S, S)."""
        own = good is not None and good.ndim == 3
        if not own:
            return self._whole.checked(images)
        return make_preparer(self.shape, good, self.preparation, self.device, like=self._whole).checked(images)
