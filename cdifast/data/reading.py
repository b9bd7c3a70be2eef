"""Batches of raw frames in the order of a plan, into a ring of buffers, with faults named or left out."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

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
    """What the loader needs of `Frames`; it also looks for ``mask``, ``labels`` and ``chunks``."""

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
        (n, H, W), native byte order, 0 in bad pixels where the frames are of floating type. Belongs to the ring once
        `release` was called.
    skipped
        The others of the batch.
    release
        Gives the buffer back.
    """

    step: int
    indices: NDArray[np.int64]
    frames: torch.Tensor
    skipped: tuple[SkippedFrame, ...]
    release: Callable[[], None]


class BatchReader:
    """Reads batches; made in one thread and used in another.

    Parameters
    ----------
    frames
        Where they come from.
    mask
        (H, W) bool: NaN is allowed where False.
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
        buffers: int,
        pinned: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        self._frames, self._on_error = frames, on_error
        self._bad = np.flatnonzero(~mask) if mask is not None and frames.dtype.kind == "f" else None
        self._mask = mask
        shape = (batch_size, *frames.shape[1:])
        kind = torch.from_numpy(np.empty(0, frames.dtype)).dtype
        self._free: queue.SimpleQueue[torch.Tensor] = queue.SimpleQueue()
        for _ in range(buffers):
            self._free.put(torch.empty(shape, dtype=kind, pin_memory=pinned))

    def batches(self, background: Background[Any], plan: EpochPlan, first: int, windowed: bool) -> Iterator[RawBatch]:
        """Batches of an epoch from step ``first`` on; runs in the thread of ``background``."""
        windows = _Windows(self, plan) if windowed else None
        for step in range(first, len(plan.batches) - 1):
            buffer = background.wait(partial(self._free.get, timeout=POLL_SECONDS), queue.Empty)
            start, stop = int(plan.batches[step]), int(plan.batches[step + 1])
            out = buffer.numpy()[: stop - start]
            rows = plan.indices[start:stop]
            faults = self.read(rows, out) if windows is None else windows.copy(start, stop, out)
            indices, count = rows, stop - start
            if faults:
                good = np.setdiff1d(np.arange(count), list(faults))
                out[: len(good)] = out[good]  # the right side is a copy
                indices, count = rows[good], len(good)
            skipped = tuple(SkippedFrame(int(rows[row]), text) for row, text in sorted(faults.items()))
            yield RawBatch(step, indices, buffer[:count], skipped, partial(self._free.put, buffer))

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> dict[int, str]:
        """Read frames; returns the rows of those that are to be left out, and why.

        Raises
        ------
        FrameError, OSError
            With ``on_error="raise"``: a frame cannot be read, or has NaN or infinite good pixels.
        """
        faults: dict[int, str] = {}
        with _lock_of(self._frames):
            self._read_halving(indices, out, 0, faults)
        if out.dtype.kind == "f":
            self._refuse_infinite(indices, out, faults)
        return faults

    def _read_halving(self, indices: NDArray[np.int64], out: NDArray[Any], first: int, faults: dict[int, str]) -> None:
        """Read all at once; where that fails and frames are skipped, find the faulty ones by halving."""
        try:
            self._frames.read(indices, out)
        except (FrameError, OSError) as error:
            if self._on_error == "raise":
                raise
            if len(indices) == 1:
                faults[first] = str(error)
                return
            half = len(indices) // 2
            self._read_halving(indices[:half], out[:half], first, faults)
            self._read_halving(indices[half:], out[half:], first + half, faults)

    def _refuse_infinite(self, indices: NDArray[np.int64], out: NDArray[Any], faults: dict[int, str]) -> None:
        """Set bad pixels to 0, and find NaN and infinity elsewhere from the frames' sums: one pass over memory."""
        flat = out.reshape(len(out), -1)
        if self._bad is not None:
            flat[:, self._bad] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            sums = flat.sum(axis=1, dtype=np.promote_types(out.dtype, np.float32))
            suspects = np.flatnonzero(~(np.abs(sums) <= np.finfo(np.float32).max))
        for row in suspects.tolist():
            if row in faults:
                continue
            source = self._frames if isinstance(self._frames, Frames) else None
            try:
                check_finite(out[row : row + 1].astype(np.float32), self._mask, int(indices[row]), source)
            except FrameError as error:
                if self._on_error == "raise":
                    raise
                faults[row] = str(error)


class _Windows:
    """Whole windows of a plan in memory, two at most, so that each chunk of the file is decoded once."""

    def __init__(self, reader: BatchReader, plan: EpochPlan) -> None:
        self._reader, self._plan = reader, plan
        self._held: dict[int, tuple[NDArray[Any], dict[int, str]]] = {}
        self._spare: list[NDArray[Any]] = []
        self._size = int(np.diff(plan.windows).max())

    def copy(self, start: int, stop: int, out: NDArray[Any]) -> dict[int, str]:
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
                frames, wrong = self._window(number)
                out[place - start : high - start] = frames[place - low : high - low]
                faults.update({low + row - start: text for row, text in wrong.items() if place <= low + row < high})
                place = high
            number += 1
        return faults

    def _window(self, number: int) -> tuple[NDArray[Any], dict[int, str]]:
        if number not in self._held:
            start, stop = self._plan.windows[number : number + 2]
            frames = self._reader._frames
            buffer = self._spare.pop() if self._spare else np.empty((self._size, *frames.shape[1:]), frames.dtype)
            faults = self._reader.read(self._plan.indices[start:stop], buffer[: stop - start])
            self._held[number] = (buffer, faults)
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
