"""Peers of reading: h5py, which decodes behind one lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.call import Call, peer_module


def _dataset(path: Path, name: str) -> Any:
    peer_module("hdf5plugin", "hdf5plugin")
    return peer_module("h5py", "h5py").File(path, "r")[name]


def loop(path: Path, rows: NDArray[np.int64], name: str = "frames") -> Call:
    """``d[i]``, a frame at a time."""
    dataset = _dataset(path, name)
    out = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
    indices = rows.tolist()

    def run() -> NDArray[Any]:
        for position, index in enumerate(indices):
            out[position] = dataset[index]
        return out

    return Call(run, len(rows), torch.from_numpy, tolerance=0.0)


def read_direct(path: Path, rows: NDArray[np.int64], name: str = "frames") -> Call:
    """``d.read_direct``, a frame at a time: without the array in between."""
    dataset = _dataset(path, name)
    out = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
    indices = rows.tolist()

    def run() -> NDArray[Any]:
        for position, index in enumerate(indices):
            dataset.read_direct(out, np.s_[index], np.s_[position])
        return out

    return Call(run, len(rows), torch.from_numpy, tolerance=0.0)


def fancy(path: Path, rows: NDArray[np.int64], name: str = "frames") -> Call:
    """``d[sorted_indices]``."""
    dataset = _dataset(path, name)
    indices = np.sort(rows)
    return Call(lambda: dataset[indices], len(rows), torch.from_numpy, tolerance=0.0)


def piece(path: Path, rows: slice, name: str = "frames") -> Call:
    """``d[a:b]`` into an array that is there."""
    dataset = _dataset(path, name)
    out = np.empty((rows.stop - rows.start, *dataset.shape[1:]), dataset.dtype)

    def run() -> NDArray[Any]:
        dataset.read_direct(out, rows)
        return out

    return Call(run, len(out), torch.from_numpy, tolerance=0.0)
