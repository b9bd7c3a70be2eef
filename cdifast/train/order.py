"""Who is trained on, in which order, with which random numbers: pure functions of the seed.

Nothing here has a state, so a run that stops anywhere continues exactly where it was.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Stream(IntEnum):
    """What random numbers are for; each purpose has its own stream. Values are part of reproducibility."""

    SPLIT = 0
    WEIGHTS = 1
    ORDER = 2
    AUGMENTATION = 3
    DROPOUT = 4


class Split(NamedTuple):
    """Indices of the images of each split, int64, ascending, without common elements."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def stream_seed(seed: int, stream: Stream, epoch: int = 0, step: int = 0) -> int:
    """A 64-bit seed for one purpose at one place of the run, independent of all others.

    By NumPy's `SeedSequence`, whose algorithm is guaranteed not to change.
    """
    return int(np.random.SeedSequence([seed, int(stream), epoch, step]).generate_state(1, np.uint64)[0])


def stream_generator(seed: int, stream: Stream, epoch: int = 0, step: int = 0) -> torch.Generator:
    """A CPU generator seeded by `stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, epoch, step))


def shuffled_split(count: int, train_fraction: float = 0.85, seed: int = 0) -> Split:
    """Shuffle and split images into training and validation (P1, section 3.1.5: 85/15).

    Parameters
    ----------
    count
        Number of images; 7264 give 6174 and 1090.
    train_fraction
        Share of the training split; its size is rounded down, but both splits get at least one image.
    seed
        Same seed, same split.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        Fewer than two images, or a fraction outside (0, 1).
    """
    if count < 2:
        raise ValueError(f"count: found {count} images, a split needs at least 2")
    if not 0 < train_fraction < 1:
        raise ValueError(f"train_fraction: found {train_fraction}, expected a number between 0 and 1")
    order = torch.randperm(count, generator=stream_generator(seed, Stream.SPLIT)).numpy()
    # Decimal fractions are not exact in binary: 0.29 * 100 is 28.999..., the nudge makes it 29.
    size = min(max(int(count * train_fraction + 1e-9), 1), count - 1)
    return Split(np.sort(order[:size]), np.sort(order[size:]))


def check_split(split: Split, count: int) -> Split:
    """The split as int64 arrays; ValueError if it is empty, leaves the `count` images or shares some."""
    split = Split(*(np.asarray(part, dtype=np.int64) for part in split))
    for name, indices in zip(Split._fields, split, strict=True):
        if len(indices) == 0:
            raise ValueError(f"split: the {name} part is empty")
        if indices.min() < 0 or indices.max() >= count:
            raise ValueError(
                f"split: the {name} part holds indices from {indices.min()} to {indices.max()}, "
                f"expected 0 to {count - 1}"
            )
        if len(np.unique(indices)) != len(indices):
            raise ValueError(f"split: the {name} part holds an image twice")
    common = np.intersect1d(split.train, split.validation)
    if len(common):
        raise ValueError(f"split: image {common[0]} and {len(common) - 1} others are in both parts")
    return split


def steps_per_epoch(train_count: int, batch_size: int) -> int:
    """Full batches in an epoch; one smaller batch if there are too few images for a full one."""
    return max(train_count // batch_size, 1)


def epoch_order(train: NDArray[np.int64], seed: int, epoch: int) -> torch.Tensor:
    """The training images in the order of one epoch, int64."""
    order = torch.randperm(len(train), generator=stream_generator(seed, Stream.ORDER, epoch))
    return torch.from_numpy(train)[order]


def part_of_rank(batch: torch.Tensor, rank: int, world_size: int) -> slice:
    """The part of a batch that one rank works on: contiguous, and of sizes that differ by one at most."""
    count = len(batch)
    return slice(count * rank // world_size, count * (rank + 1) // world_size)
