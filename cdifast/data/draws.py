"""Random numbers that belong to a frame or an epoch and to nothing else: pure functions of a seed.

Neither the batch that a frame comes in, nor rank, worker, thread or backend changes them. They are raw bits of NumPy's
Philox bit generator under keys of its `SeedSequence`: both are guaranteed not to change between releases, which
NumPy's distributions and torch's `randperm` are not.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Purpose(IntEnum):
    """What numbers are for; the values decide the numbers, and are none of `cdifast.train.order.Stream`."""

    CHUNKS = 16
    FRAMES = 17
    MIXING = 18
    AUGMENTATION = 19


def epoch_keys(count: int, seed: int, purpose: Purpose, epoch: int) -> NDArray[np.uint64]:
    """``count`` random 64-bit keys of an epoch; sorting by them shuffles.

    Parameters
    ----------
    count : int
        How many.
    seed, epoch : int
        Not negative.
    purpose : Purpose
        Keys of another purpose are independent.

    Returns
    -------
    ndarray of uint64, (count,)
    """
    return _philox(seed, purpose, epoch).random_raw(count) if count else np.empty(0, np.uint64)


def frame_uniforms(indices: ArrayLike, draws: int, seed: int, epoch: int = 0) -> NDArray[np.float64]:
    """Numbers uniform in [0, 1) for each frame, from (seed, epoch, frame) alone.

    Parameters
    ----------
    indices : array_like of int, (n,)
        The frames' indices in their stack, not negative.
    draws : int
        Numbers a frame. Fewer are the first of more.
    seed, epoch : int
        Not negative.

    Returns
    -------
    ndarray of float64, (n, draws)
        Multiples of 2^-53.
    """
    rows = np.asarray(indices, dtype=np.uint64)
    bits = _philox(seed, Purpose.AUGMENTATION, epoch)
    state = bits.state
    raw = np.empty((len(rows), draws), dtype=np.uint64)
    for row, index in enumerate(rows):
        # The counter has 256 bits: the frame is the third of its words, each frame has 2^128 blocks of its own.
        state["state"]["counter"][:] = (0, 0, index, 0)
        state["buffer_pos"] = 4  # nothing is left over from the frame before
        bits.state = state
        raw[row] = bits.random_raw(draws)
    return np.ldexp((raw >> np.uint64(11)).astype(np.float64), -53)


def _philox(seed: int, purpose: Purpose, epoch: int) -> np.random.Philox:
    key = np.random.SeedSequence([seed, int(purpose), epoch]).generate_state(2, np.uint64)
    return np.random.Philox(key=key)
