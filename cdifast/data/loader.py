"""Batches of network input from files: `FrameLoader`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .batches import BatchMaker, Finished, TorchBatches
from .errors import FrameError
from .frames import Frames
from .order import FrameOrder, Shuffle
from .pipeline import FramePipeline
from .reading import ArrayFrames, OnError, Readable, SkippedFrame

Backend = Literal["torch", "dali"]

# A window of frames that share chunks is held in memory, twice where a batch spans two.
_WINDOW_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class FrameBatch:
    """A batch of network input.

    Attributes
    ----------
    images : torch.Tensor
        (n, 1, S, S) float32 on the loader's device.
    indices : torch.Tensor
        (n,) int64 on the CPU: the frames' indices in their stack.
    labels : torch.Tensor or None
        (n, ...) on the loader's device: the labels' rows.
    mask : torch.Tensor or None
        (n, 1, S, S) bool on the loader's device, True where the images hold data; the ``mask`` of our polar and
        correlation operators. None: everywhere. The same memory may serve all n.
    epoch, step : int
        Which batch this is.
    """

    images: torch.Tensor
    indices: torch.Tensor
    labels: torch.Tensor | None
    mask: torch.Tensor | None
    epoch: int
    step: int

    def __len__(self) -> int:
        return len(self.indices)


class FrameLoader:
    """Reads, prepares and augments frames batch by batch, ahead of the consumer, in a thread of its own.

    Each batch is one call of `Frames.read`, whose decoders have threads of their own, so no worker processes are
    needed. Iterating gives the batches of an epoch; at its end the loader moves on to the next, so that each loop over
    it has another order and other random changes. A loop that is left early begins its epoch anew; to go on in the
    middle, save `state_dict` and load it.

    Parameters
    ----------
    frames : Frames or array_like, (N, H, W)
        From `open_frames`, in memory, or whatever has ``shape``, ``dtype`` and ``read`` as `Frames` has.
    batch_size : int
        Frames a batch.
    pipeline : FramePipeline, optional
        What is done to them; None: `FramePipeline()`, mask, resize to 224 x 224 and scaling by the mean.
    backend : {"torch", "dali"}
        Who does it. DALI needs ``filter="triangle"`` in the pipeline's preparation, and
        ``pip install 'cdifast[dali]'``; its batches are torch's up to rounding.
    device : str or torch.device
        Where the batches are made and left. With CUDA frames are copied from page-locked buffers.
    shuffle : bool or {"chunks", "frames", "none"}
        True is "chunks": see `FrameOrder`.
    seed : int
        Of order and augmentation.
    indices : array_like of int, optional
        The frames to use, such as a training split; None: all.
    labels : array_like, (N, ...), optional
        For all frames of the stack. None: those of the frames.
    mask : array_like of bool, (H, W), optional
        True = good. None: that of the frames, or each frame's own where they differ (`Frames.masks_differ`).
    rank, world_size : int
        This process's shard, see `FrameOrder`.
    drop_last : bool
        Leave out frames that fill no batch.
    prefetch : int
        Finished batches that lie ready.
    window : int, optional
        Frames that are read at once, and mixed, where chunks hold several, see `FrameOrder`; None: 16 batches, within
        256 MiB.
    on_error : {"raise", "skip"}
        "skip": a frame that cannot be read, or has NaN or infinite good pixels, is left out of its batch and told in
        `skipped`, with one warning; a batch without any frame left is left out. "raise": the error names file, data
        set and index.

    Attributes
    ----------
    epoch : int
        The epoch at hand.
    skipped : list of SkippedFrame
        The frames left out so far, each once.

    Raises
    ------
    ValueError, FrameError, ImportError
        Arguments that do not fit, and what `FrameOrder` refuses.

    Examples
    --------
    >>> loader = FrameLoader(open_frames("run7.cxi"), batch_size=64, pipeline=FramePipeline.p1())  # doctest: +SKIP
    >>> for batch in loader:  # doctest: +SKIP
    ...     loss = train_step(batch.images, batch.labels)
    """

    def __init__(
        self,
        frames: Frames | Readable | ArrayLike,
        *,
        batch_size: int = 64,
        pipeline: FramePipeline | None = None,
        backend: Backend = "torch",
        device: str | torch.device = "cpu",
        shuffle: bool | Shuffle = True,
        seed: int = 0,
        indices: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        prefetch: int = 2,
        window: int | None = None,
        on_error: OnError = "raise",
    ) -> None:
        source = frames if isinstance(frames, Readable) else ArrayFrames(frames)
        self.pipeline = pipeline or FramePipeline()
        self.device = torch.device(device)
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error: found {on_error!r}, expected 'raise' or 'skip'")
        if backend not in ("torch", "dali"):
            raise ValueError(f"backend: found {backend!r}, expected 'torch' or 'dali'")
        if prefetch < 1:
            raise ValueError(f"prefetch: found {prefetch}, expected at least 1")
        if window is None:
            frame_bytes = source.shape[1] * source.shape[2] * source.dtype.itemsize
            window = max(batch_size, min(16 * batch_size, _WINDOW_BYTES // frame_bytes))
        count = source.shape[0]
        if indices is not None and np.size(indices) and np.max(np.asarray(indices)) >= count:
            raise ValueError(f"indices: found {np.max(np.asarray(indices))}, but there are {count} frames")
        self.order = FrameOrder(
            count if indices is None else indices,
            batch_size,
            shuffle=("chunks" if shuffle else "none") if isinstance(shuffle, bool) else shuffle,
            seed=seed,
            chunks=self._chunks(frames, on_error) if shuffle in (True, "chunks") else None,
            window=window,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
        )
        self._labels = _as_labels(getattr(frames, "labels", None) if labels is None else labels, count)
        own_masks = mask is None and bool(getattr(frames, "masks_differ", False))
        good = getattr(frames, "mask", None) if mask is None else np.asarray(mask)
        if own_masks:
            good = None
        backend_class: Any = TorchBatches
        if backend == "dali":
            from .dali import DaliBatches

            backend_class = DaliBatches
        self._maker: BatchMaker = backend_class(
            source, good, own_masks, self.pipeline, self.order, self.device, prefetch, on_error
        )
        self.skipped: list[SkippedFrame] = []
        self._skipped_indices: set[int] = set()
        self.epoch = 0
        self._step = 0
        self._first = 0

    @staticmethod
    def _chunks(frames: Any, on_error: OnError) -> NDArray[np.int64] | None:
        try:
            return getattr(frames, "chunks", None)
        except (FrameError, OSError):
            if on_error == "raise":
                raise
            return None  # a file is missing: its frames are skipped, and those of the others read in any order

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Let the next loop begin this epoch."""
        if epoch < 0:
            raise ValueError(f"epoch: found {epoch}, expected at least 0")
        self.epoch, self._step, self._first = epoch, 0, 0

    def state_dict(self) -> dict[str, int | str]:
        """The place after the last batch that was handed out, and what the order depends on; JSON-serialisable."""
        return {"epoch": self.epoch, "step": self._step, **self._settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next loop go on exactly where `state_dict` was called.

        Raises
        ------
        ValueError
            The state of a loader with another order, or no state; names what differs.
        """
        settings = self._settings()
        missing = ({"epoch", "step"} | settings.keys()) - state.keys()
        if missing:
            raise ValueError(f"state: lacks {', '.join(sorted(missing))}; expected what state_dict() gives")
        differing = [
            f"{name} {state[name]!r}, here {value!r}" for name, value in settings.items() if state[name] != value
        ]
        if differing:
            raise ValueError(f"state: is that of another loader: {'; '.join(differing)}")
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= len(self):
            raise ValueError(f"state: found epoch {epoch}, step {step}; there are {len(self)} steps in an epoch")
        self.epoch = epoch
        self._step = self._first = step

    def _settings(self) -> dict[str, int | str]:
        order = self.order
        return {
            "frames": len(order.frames),
            "batch_size": order.batch_size,
            "seed": order.seed,
            "shuffle": order.shuffle,
            "window": order.window if order.windowed else 0,
            "rank": order.rank,
            "world_size": order.world_size,
            "drop_last": int(order.drop_last),
            "definition": self._definition,
        }

    @cached_property
    def _definition(self) -> str:
        """Digest of the rest that makes the batches what they are: the pipeline, which frames, which chunks."""
        digest = hashlib.sha256(json.dumps(self.pipeline.to_dict(), sort_keys=True).encode())
        digest.update(self.order.frames.tobytes())
        digest.update(self.order.chunk_numbers.tobytes())
        return digest.hexdigest()[:16]

    def __iter__(self) -> Iterator[FrameBatch]:
        """The rest of the epoch."""
        epoch, first = self.epoch, self._first
        self._step, self._first = first, 0
        delivered = first > 0
        with contextlib.closing(self._maker.run(self.order.plan(epoch), first, epoch)) as items:
            for item in items:
                self._step = item.step + 1
                self._report(item)
                if item.images is not None:
                    delivered = True
                    yield self._batch(item, epoch)
        if not delivered and len(self):
            raise FrameError(f"no frame of the epoch could be read; the first: {self.skipped[0].message}")
        self.set_epoch(epoch + 1)

    def _batch(self, item: Finished, epoch: int) -> FrameBatch:
        assert item.images is not None
        indices = torch.from_numpy(item.indices)
        labels = None if self._labels is None else self._labels[indices].to(self.device, non_blocking=True)
        return FrameBatch(item.images, indices, labels, item.mask, epoch, item.step)

    def _report(self, item: Finished) -> None:
        for frame in item.skipped:
            if frame.index in self._skipped_indices:
                continue
            if not self.skipped:
                warnings.warn(
                    f"{frame.message} (frame {frame.index} of the stack is left out; more will be told in "
                    "FrameLoader.skipped alone)",
                    stacklevel=3,
                )
            self.skipped.append(frame)
            self._skipped_indices.add(frame.index)


def _as_labels(labels: ArrayLike | None, count: int) -> torch.Tensor | None:
    if labels is None:
        return None
    tensor = labels if isinstance(labels, torch.Tensor) else torch.from_numpy(np.array(labels))
    if tensor.dim() < 1 or len(tensor) != count:
        raise ValueError(f"labels: found shape {tuple(tensor.shape)}, expected {count} rows, one a frame of the stack")
    return tensor.cpu()
