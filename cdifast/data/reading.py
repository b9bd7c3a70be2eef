"""Batches of raw frames in the order of a plan, into a ring of buffers, with faults named or left out."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from .background import POLL_SECONDS, Background
from .errors import FrameError
from .finite import check_finite
from .frames import Frames
from .order import EpochPlan

OnError = Literal["raise", "skip"]


@runtime_checkable
class Readable(Protocol):
    """What the loader needs of `Frames`.

    It also looks for ``mask``, ``labels``, ``chunks``, and ``masks_differ`` with ``read_mask``.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> NDArray[Any]: ...


class ArrayFrames:
    """Frames that are in memory already, as an array (N, H, W) or a tensor on the CPU."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)
        if self._array.ndim != 3 or 0 in self._array.shape or self._array.dtype.kind not in "uif":
            raise FrameError(
                f"found {self._array.dtype} of shape {self._array.shape}; expected frames (N, H, W) of real numbers"
            )
        self.shape: tuple[int, int, int] = self._array.shape
        self.dtype = np.dtype(self._array.dtype.newbyteorder("=").str)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> NDArray[Any]:
        """Copy frames into ``out``."""
        out[...] = self._array[indices]
        return out


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that was left out.

    Attributes
    ----------
    index
        In the stack.
    message
        What was wrong, with file, data set and index in it.
    """

    index: int
    message: str


@dataclass
class RawBatch:
    """Frames of a batch in a buffer of the ring.

    Attributes
    ----------
    step
        Number of the batch in the epoch.
    indices
        (n,) int64: the frames that could be read.
    frames
        (n, H, W), native byte order, 0 in bad pixels where the frames are of floating type or have masks of their
        own. Belongs to the ring once `release` was called.
    good
        (n, H, W) bool, each frame's own good pixels, where frames differ in them; belongs to the ring too.
    skipped
        The others of the batch.
    release
        Gives the buffer back.
    """

    step: int
    indices: NDArray[np.int64]
    frames: torch.Tensor
    good: torch.Tensor | None
    skipped: tuple[SkippedFrame, ...]
    release: Callable[[], None]


class Block(NamedTuple):
    """Frames, and their own good pixels where they have such."""

    frames: NDArray[Any]
    good: NDArray[np.bool_] | None

    def rows(self, rows: slice) -> Block:
        """Some of them, in the same memory."""
        return Block(self.frames[rows], None if self.good is None else self.good[rows])

    def copy(self, other: Block, rows: slice | NDArray[np.int64]) -> None:
        """Fill with rows of another block, or of this one by index."""
        self.frames[...] = other.frames[rows]
        if self.good is not None and other.good is not None:
            self.good[...] = other.good[rows]


class BatchReader:
    """Reads batches; made in one thread and used in another.

    Parameters
    ----------
    frames
        Where they come from.
    mask
        (H, W) bool: NaN is allowed where False; None: nowhere.
    own_masks
        Each frame has its own, by ``frames.read_mask``; `mask` is not used.
    batch_size
        Frames in the largest batch.
    buffers
        In the ring.
    pinned
        In page-locked memory, from which a GPU copies without the CPU.
    on_error
        Raise, or leave out what cannot be read.
    """

    def __init__(
        self,
        frames: Readable,
        mask: NDArray[np.bool_] | None,
        batch_size: int,
        *,
        own_masks: bool = False,
        buffers: int,
        pinned: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        self._frames, self._on_error, self.own_masks = frames, on_error, own_masks
        self._bad = np.flatnonzero(~mask) if mask is not None and frames.dtype.kind == "f" else None
        self._mask = mask
        shape = (batch_size, *frames.shape[1:])
        kind = torch.from_numpy(np.empty(0, frames.dtype)).dtype
        self._free: queue.SimpleQueue[tuple[torch.Tensor, torch.Tensor | None]] = queue.SimpleQueue()
        for _ in range(buffers):
            good = torch.empty(shape, dtype=torch.bool, pin_memory=pinned) if own_masks else None
            self._free.put((torch.empty(shape, dtype=kind, pin_memory=pinned), good))

    def batches(self, background: Background[Any], plan: EpochPlan, first: int, windowed: bool) -> Iterator[RawBatch]:
        """Batches of an epoch from step ``first`` on; runs in the thread of ``background``."""
        windows = _Windows(self, plan) if windowed else None
        for step in range(first, len(plan.batches) - 1):
            buffers = background.wait(partial(self._free.get, timeout=POLL_SECONDS), queue.Empty)
            start, stop = int(plan.batches[step]), int(plan.batches[step + 1])
            block = Block(*(None if tensor is None else tensor.numpy()[: stop - start] for tensor in buffers))  # type: ignore[arg-type]
            rows = plan.indices[start:stop]
            faults = self.read(rows, block) if windows is None else windows.copy(start, stop, block)
            indices, count = rows, stop - start
            if faults:
                kept = np.setdiff1d(np.arange(count), list(faults))
                block.rows(slice(len(kept))).copy(block, kept)
                indices, count = rows[kept], len(kept)
            skipped = tuple(SkippedFrame(int(rows[row]), text) for row, text in sorted(faults.items()))
            frames, good = (None if tensor is None else tensor[:count] for tensor in buffers)
            assert frames is not None
            yield RawBatch(step, indices, frames, good, skipped, partial(self._free.put, buffers))

    def block(self, count: int) -> Block:
        """Memory for frames."""
        shape = (count, *self._frames.shape[1:])
        return Block(np.empty(shape, self._frames.dtype), np.empty(shape, bool) if self.own_masks else None)

    def read(self, indices: NDArray[np.int64], block: Block) -> dict[int, str]:
        """Read frames; returns the rows of those that are to be left out, and why.

        Raises
        ------
        FrameError, OSError
            With ``on_error="raise"``: a frame cannot be read, or has NaN or infinite good pixels.
        """
        faults: dict[int, str] = {}
        with _lock_of(self._frames):
            self._read_halving(indices, block, 0, faults)
        self._blank(block)
        if block.frames.dtype.kind == "f":
            self._refuse_infinite(indices, block, faults)
        return faults

    def _read_halving(self, indices: NDArray[np.int64], block: Block, first: int, faults: dict[int, str]) -> None:
        """Read all at once; where that fails and frames are skipped, find the faulty ones by halving."""
        try:
            self._frames.read(indices, block.frames)
            if block.good is not None:
                block.good[...] = self._frames.read_mask(indices, block.frames)  # type: ignore[attr-defined]
        except (FrameError, OSError) as error:
            if self._on_error == "raise":
                raise
            if len(indices) == 1:
                faults[first] = str(error)
                return
            half = len(indices) // 2
            self._read_halving(indices[:half], block.rows(slice(half)), first, faults)
            self._read_halving(indices[half:], block.rows(slice(half, None)), first + half, faults)

    def _blank(self, block: Block) -> None:
        """Set bad pixels to 0 where they may hold NaN."""
        if block.good is not None:
            np.copyto(block.frames, 0, where=~block.good)
        elif self._bad is not None:
            block.frames.reshape(len(block.frames), -1)[:, self._bad] = 0

    def _refuse_infinite(self, indices: NDArray[np.int64], block: Block, faults: dict[int, str]) -> None:
        """Find NaN and infinity from the frames' sums: one pass over memory."""
        flat = block.frames.reshape(len(block.frames), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = flat.sum(axis=1, dtype=np.promote_types(flat.dtype, np.float32))
            suspects = np.flatnonzero(~(np.abs(sums) <= np.finfo(np.float32).max))
        for row in suspects.tolist():
            if row in faults:
                continue
            source = self._frames if isinstance(self._frames, Frames) else None
            mask = self._mask if block.good is None else block.good[row : row + 1]
            with np.errstate(over="ignore"):
                frame = block.frames[row : row + 1].astype(np.float32)
            try:
                check_finite(frame, mask, int(indices[row]), source)
            except FrameError as error:
                if self._on_error == "raise":
                    raise
                faults[row] = str(error)


class _Windows:
    """Whole windows of a plan in memory, two at most, so that each chunk of the file is decoded once."""

    def __init__(self, reader: BatchReader, plan: EpochPlan) -> None:
        self._reader, self._plan = reader, plan
        self._held: dict[int, tuple[Block, dict[int, str]]] = {}
        self._spare: list[Block] = []
        self._size = int(np.diff(plan.windows).max())

    def copy(self, start: int, stop: int, block: Block) -> dict[int, str]:
        """Copy the frames at places ``start:stop`` of the plan; returns faults as `BatchReader.read`."""
        edges = self._plan.windows
        faults: dict[int, str] = {}
        first = int(np.searchsorted(edges, start, side="right")) - 1
        for number in [held for held in self._held if held < first]:
            self._spare.append(self._held.pop(number)[0])
        number, place = first, start
        while place < stop:
            low, high = int(edges[number]), min(int(edges[number + 1]), stop)
            if high > place:
                held, wrong = self._window(number)
                block.rows(slice(place - start, high - start)).copy(held, slice(place - low, high - low))
                faults.update({low + row - start: text for row, text in wrong.items() if place <= low + row < high})
                place = high
            number += 1
        return faults

    def _window(self, number: int) -> tuple[Block, dict[int, str]]:
        if number not in self._held:
            start, stop = self._plan.windows[number : number + 2]
            block = self._spare.pop() if self._spare else self._reader.block(self._size)
            faults = self._reader.read(self._plan.indices[start:stop], block.rows(slice(int(stop - start))))
            self._held[number] = (block, faults)
        return self._held[number]


_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def _lock_of(frames: Any) -> threading.Lock:
    """One lock for all loaders of one `Frames`, which is not for several threads at once."""
    with _guard:
        return _locks.setdefault(frames, threading.Lock())


def _after_fork() -> None:
    """A lock that another thread held at a fork would stay locked in the child for ever."""
    global _guard
    _guard = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
