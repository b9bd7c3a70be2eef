"""PyTorch's DataLoader over h5py: two worker processes that read, resize and send batches, as most programs do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.call import Call, peer_module

WORKERS = 2
ANOTHER_FILTER = None  # computes nearly the same; its error would say so

Resize = Callable[[NDArray[Any]], Any]


class H5Frames(Dataset[Any]):
    """Frames of one data set, each resized by the worker that reads it; each worker opens the file for itself."""

    def __init__(self, path: Path, name: str, resize: Resize) -> None:
        self._path, self._name, self._resize = path, name, resize
        self._data: Any = None

    def __getitem__(self, index: int) -> Tensor:
        if self._data is None:
            import h5py
            import hdf5plugin  # noqa: F401

            self._data = h5py.File(self._path, "r")[self._name]
        return torch.as_tensor(self._resize(self._data[index]))


def area_cv2(size: int) -> Resize:
    """OpenCV's area filter: the same mean over cells, from uint16."""
    cv2 = peer_module("cv2", "opencv-python-headless")

    def resize(frame: NDArray[Any]) -> NDArray[Any]:
        return cv2.resize(frame.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)

    return resize


def products(rows: Tensor) -> Resize:
    """The same filter as two dense matrix products."""
    columns = rows.T.contiguous()

    def resize(frame: NDArray[Any]) -> Tensor:
        return rows @ torch.from_numpy(frame.astype(np.float32)) @ columns

    return resize


def antialiased(size: int) -> Resize:
    """torch's antialiased interpolation (a triangle)."""

    def resize(frame: NDArray[Any]) -> Tensor:
        values = torch.from_numpy(frame.astype(np.float32))[None, None]
        return functional.interpolate(values, size=(size, size), mode="bilinear", antialias=True)[0, 0]

    return resize


def data_loader(
    path: Path, name: str, resize: Resize, batches: list[list[int]], tolerance: float | None = 1e-3
) -> Call:
    """One epoch; workers live on between epochs."""
    loader: DataLoader[Any] = DataLoader(
        H5Frames(path, name, resize),
        batch_sampler=batches,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    return Call(lambda: first_batch(loader), sum(map(len, batches)), tolerance=tolerance)


def first_batch(batches: Any) -> Tensor:
    """Run through an epoch; returns the first batch's images."""
    first = None
    for images in batches:
        if first is None:
            first = images
    assert first is not None
    return first
