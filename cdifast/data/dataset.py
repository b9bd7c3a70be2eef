"""Frames as a map-style dataset, for those who want PyTorch's own DataLoader: `FrameDataset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from .finite import check_finite
from .frames import Frames
from .pipeline import FramePipeline, TorchPipeline


class FrameDataset(Dataset[dict[str, Any]]):
    """Prepared and augmented frames by index, for `torch.utils.data.DataLoader`.

    Works in worker processes under fork and spawn: each opens the files for itself. The random changes of a frame
    depend on (seed, epoch, index) alone, so the number of workers does not change them, and they are those of
    `FrameLoader`, which needs no workers and is as fast with one process as this is with many; prefer it, but where a
    program is built around DataLoader. A batch is read in one call of `Frames.read`, of whichever frames the sampler
    asks for; pass ``batch_sampler=FrameOrder(...)`` for shards and an order that can be resumed (what workers have
    fetched ahead counts as handed out there).

    Parameters
    ----------
    frames : Frames
        From `open_frames`.
    pipeline : FramePipeline, optional
        None: `FramePipeline()`.
    seed : int
        Of the random changes.

    Examples
    --------
    >>> dataset = FrameDataset(open_frames("run7.cxi"), FramePipeline.p1())  # doctest: +SKIP
    >>> loader = DataLoader(dataset, batch_size=64, shuffle=True, num_workers=4)  # doctest: +SKIP
    """

    def __init__(self, frames: Frames, pipeline: FramePipeline | None = None, *, seed: int = 0) -> None:
        self.frames, self.pipeline, self.seed = frames, pipeline or FramePipeline(), seed
        # In shared memory, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._prepare: TorchPipeline | None = self._new()  # what does not fit is told here

    def _new(self) -> TorchPipeline:
        mask = None if self.frames.masks_differ else self.frames.mask
        return TorchPipeline(self.pipeline, self.frames.shape[1:], mask)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepare": None}  # its buffers are made again in the worker

    def __len__(self) -> int:
        return len(self.frames)

    def set_epoch(self, epoch: int) -> None:
        """Let the random changes be those of this epoch, in workers too."""
        if epoch < 0:
            raise ValueError(f"epoch: found {epoch}, expected at least 0")
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One frame, see `__getitems__`."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int] | ArrayLike) -> list[dict[str, Any]]:
        """Frames read and prepared together; DataLoader calls this with a batch.

        Returns
        -------
        list of dict
            ``"image"`` (1, S, S) float32, ``"index"`` int, and where they exist ``"label"`` (11,) uint8 and ``"mask"``
            (1, S, S) bool, see `FrameBatch`.

        Raises
        ------
        FrameError
            A frame cannot be read, or has NaN or infinite good pixels.
        """
        rows = np.asarray(indices, dtype=np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        raw = self.frames.read(rows)
        good = self.frames.read_mask(rows, raw) if self.frames.masks_differ else None
        check_finite(raw, self.frames.mask if good is None else good, rows, self.frames)
        if self._prepare is None:
            self._prepare = self._new()
        changes = self.pipeline.changes(rows, self.seed, int(self._epoch.item()))
        own = None if good is None else torch.from_numpy(good)
        images, mask = self._prepare(torch.from_numpy(raw), changes, own)
        items: list[dict[str, Any]] = [
            {"image": image, "index": int(row)} for image, row in zip(images, rows, strict=True)
        ]
        for number, item in enumerate(items):
            if self.frames.labels is not None:
                item["label"] = torch.from_numpy(self.frames.labels[item["index"]])
            if mask is not None:
                item["mask"] = mask[number]
        return items
