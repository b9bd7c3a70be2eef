"""Which frames come in which batch: a shuffle that respects storage chunks, in shards, exact, resumable.

An order is a pure function of (seed, epoch), so its whole state is a place in it: two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .draws import Purpose, epoch_keys

Shuffle = Literal["chunks", "frames", "none"]


class EpochPlan(NamedTuple):
    """One epoch of one rank.

    Attributes
    ----------
    indices : ndarray of int64, (n,)
        The rank's frames in the order of the epoch.
    batches : ndarray of int64, (steps + 1,)
        Batch k holds ``indices[batches[k]:batches[k + 1]]``.
    windows : ndarray of int64, (w + 1,)
        Window j holds ``indices[windows[j]:windows[j + 1]]``: frames that are best read together, because they share
        chunks among themselves and with no other window (but where a chunk is larger than a window).
    """

    indices: NDArray[np.int64]
    batches: NDArray[np.int64]
    windows: NDArray[np.int64]

    def batch(self, step: int) -> NDArray[np.int64]:
        """The frames of one batch."""
        return self.indices[self.batches[step] : self.batches[step + 1]]


class FrameOrder:
    """The batches of every epoch; also a ``batch_sampler`` for PyTorch's DataLoader.

    Each epoch holds each frame exactly once, over all ranks together. The ranks' shards are disjoint, differ by at
    most one frame, and have the same number of batches (but with a batch size of 1), so that no rank waits for
    another at the end of an epoch. Only the last batches may be smaller than `batch_size`.

    **Shuffling by chunks.** Where chunks of the file hold several frames, a full shuffle decodes a whole chunk for
    every frame. Instead the chunks are shuffled, and within windows of many chunks the frames: whoever reads a
    window at once decodes each chunk once an epoch (but for one chunk at each border of a shard). The price is that
    two frames of a batch come from one chunk more often than by chance. With windows of W frames in chunks of k,
    that has the probability (k - 1) / (W - 1); if all frames of a chunk were alike, the mean over a batch of B
    frames would vary as that of B / (1 + (B - 1)(k - 1)/(W - 1)) independent ones. Windows of all frames are a full
    shuffle.

    Parameters
    ----------
    frames : int or array_like of int
        How many frames, or the indices of those to use (a training split).
    batch_size : int
        Frames a batch.
    shuffle : {"chunks", "frames", "none"}, default "chunks"
        By chunks as above, a full shuffle, or the order given. Without `chunks`, or where each holds one frame, the
        first is a full shuffle.
    seed : int
        Of the shuffle. Another seed or another epoch gives an independent order.
    chunks : array_like of int, optional
        For each frame of the stack (not only of those used) an identifier of its chunk: frames of equal identifiers
        are decoded together. `Frames.chunks`.
    window : int, optional
        Frames in a window, about; None: 16 batches.
    rank, world_size : int
        This shard and how many there are.
    drop_last : bool
        Leave out the frames that fill no batch (on all ranks alike); each epoch leaves out others.

    Raises
    ------
    ValueError
        Numbers that make no sense, fewer frames than ranks, or no full batch with `drop_last`.
    """

    def __init__(
        self,
        frames: int | ArrayLike,
        batch_size: int,
        *,
        shuffle: Shuffle = "chunks",
        seed: int = 0,
        chunks: ArrayLike | None = None,
        window: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        subset = np.asarray(frames)
        whole = subset.ndim == 0
        self.frames = np.arange(int(subset), dtype=np.int64) if whole else subset.astype(np.int64)
        if self.frames.ndim != 1 or subset.dtype.kind not in "ui":
            raise ValueError(f"frames: found {subset.dtype} of shape {subset.shape}, expected a count or indices (n,)")
        if len(np.unique(self.frames)) != len(self.frames) or (len(self.frames) and self.frames.min() < 0):
            raise ValueError("frames: found an index twice or a negative one")
        if shuffle not in ("chunks", "frames", "none"):
            raise ValueError(f"shuffle: found {shuffle!r}, expected 'chunks', 'frames' or 'none'")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("world_size", world_size, 1),
            ("window", 1 if window is None else window, 1),
        ):
            if value < least:
                raise ValueError(f"{name}: found {value}, expected at least {least}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank: found {rank}, expected 0 to {world_size - 1} (world_size - 1)")
        if len(self.frames) < world_size:
            raise ValueError(f"frames: found {len(self.frames)}, expected at least one for each of {world_size} ranks")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.window = max(batch_size, 16 * batch_size if window is None else window)
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.epoch = 0
        self._step = 0
        self._chunk = self._chunks_of_frames(chunks)

        count = len(self.frames)
        self._start, self._stop = (count * r // world_size for r in (rank, rank + 1))
        size = self._stop - self._start
        if drop_last:
            self._steps = count // world_size // batch_size
            if self._steps == 0:
                raise ValueError(
                    f"drop_last: {count} frames on {world_size} ranks fill no batch of {batch_size}; "
                    "expected a smaller batch_size or drop_last=False"
                )
        else:
            largest_shard = math.ceil(count / world_size)
            self._steps = min(size, math.ceil(largest_shard / batch_size))

    def _chunks_of_frames(self, chunks: ArrayLike | None) -> NDArray[np.int64] | None:
        """Number of the chunk of each frame used, from 0; None where that does not matter."""
        if chunks is None or self.shuffle != "chunks":
            return None
        ids = np.asarray(chunks)
        if ids.ndim != 1 or ids.dtype.kind not in "ui":
            raise ValueError(f"chunks: found {ids.dtype} of shape {ids.shape}, expected integers (N,)")
        if len(ids) <= self.frames.max():
            raise ValueError(
                f"chunks: found {len(ids)}, but there is a frame {self.frames.max()}; expected one a frame"
            )
        names, numbers = np.unique(ids[self.frames], return_inverse=True)
        return numbers if len(names) < len(numbers) else None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._steps

    @property
    def windowed(self) -> bool:
        """Whether frames share chunks, so that windows should be read at once."""
        return self._chunk is not None

    @property
    def chunk_numbers(self) -> NDArray[np.int64]:
        """Number of the chunk of each frame used, where frames share chunks; else empty."""
        return np.empty(0, np.int64) if self._chunk is None else self._chunk

    def plan(self, epoch: int) -> EpochPlan:
        """One epoch of this rank; takes about a second for a million frames.

        Raises
        ------
        ValueError
            A negative epoch.
        """
        if epoch < 0:
            raise ValueError(f"epoch: found {epoch}, expected at least 0")
        count, part = len(self.frames), slice(self._start, self._stop)
        if self.shuffle == "none":
            order = np.arange(count)[part]
            windows = np.array([0, len(order)])
        else:
            keys = epoch_keys(count, self.seed, Purpose.FRAMES, epoch)
            if self._chunk is None:
                order = np.argsort(keys, kind="stable")[part]
                windows = np.array([0, len(order)])
            else:
                chunk_keys = epoch_keys(int(self._chunk.max()) + 1, self.seed, Purpose.CHUNKS, epoch)
                rank_of_chunk = np.argsort(np.argsort(chunk_keys, kind="stable"), kind="stable")
                order = _argsort_within(rank_of_chunk[self._chunk], keys)[part]
                windows = self._windows(self._chunk[order])
                mixing = epoch_keys(count, self.seed, Purpose.MIXING, epoch)[order]
                order = order[_argsort_within(np.repeat(np.arange(len(windows) - 1), np.diff(windows)), mixing)]
        steps, size = self._steps, self.batch_size
        edges = np.arange(steps + 1) * size
        if not self.drop_last:
            # The last rank's share may be one frame short of another batch: then it comes from the batch before.
            edges = np.minimum(edges, len(order) - (steps - np.arange(steps + 1)))
            edges[-1] = len(order)
        indices = self.frames[order[: edges[-1]]]
        return EpochPlan(indices, edges, np.minimum(windows, len(indices)))

    def _windows(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cut a run of frames that is ordered by chunks into windows, evenly, at borders of chunks if there are any."""
        borders = np.flatnonzero(np.diff(chunks)) + 1
        edges, count = [0], len(chunks)
        while (rest := count - edges[-1]) > self.window:
            target = edges[-1] + math.ceil(rest / math.ceil(rest / self.window))
            border = borders[np.searchsorted(borders, target, side="right") - 1] if len(borders) else 0
            edges.append(int(border) if border > edges[-1] else target)
        return np.array([*edges, count])

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        if epoch < 0:
            raise ValueError(f"epoch: found {epoch}, expected at least 0")
        self.epoch, self._step = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Where the iteration is: epoch and step."""
        return {"epoch": self.epoch, "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was called."""
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= self._steps:
            raise ValueError(f"state: found epoch {epoch}, step {step}; there are {self._steps} steps in an epoch")
        self.epoch, self._step = epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch's batches as lists; at its end the epoch moves on."""
        plan = self.plan(self.epoch)
        while self._step < self._steps:
            step = self._step
            self._step += 1
            yield plan.batch(step).tolist()
        self.set_epoch(self.epoch + 1)


def _argsort_within(groups: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Order by group, then by key: one sort of numbers made of both, several times faster than `numpy.lexsort`."""
    bits = np.uint64(int(groups.max()).bit_length())
    shifted = groups.astype(np.uint64) << (np.uint64(64) - bits) if bits else np.uint64(0)
    return np.argsort(shifted | (keys >> bits), kind="stable")
