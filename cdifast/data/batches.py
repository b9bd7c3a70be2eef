"""What a backend of `FrameLoader` is, and the torch backend."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .background import Background
from .order import EpochPlan, FrameOrder
from .pipeline import FramePipeline, TorchPipeline
from .reading import BatchReader, OnError, RawBatch, Readable, SkippedFrame


@dataclass(frozen=True)
class Finished:
    """A batch as a backend leaves it; ``images`` is None where no frame of it could be read."""

    step: int
    indices: NDArray[np.int64]
    images: torch.Tensor | None
    mask: torch.Tensor | None
    skipped: tuple[SkippedFrame, ...]


class BatchMaker(Protocol):
    """A backend: finished batches of a plan, from a step on."""

    def run(self, plan: EpochPlan, first: int, epoch: int) -> Generator[Finished]: ...


class TorchBatches:
    """The torch backend: on the CPU the thread that reads also prepares, so that all cores do one thing at a time."""

    def __init__(
        self,
        frames: Readable,
        mask: NDArray[np.bool_] | None,
        own_masks: bool,
        pipeline: FramePipeline,
        order: FrameOrder,
        device: torch.device,
        prefetch: int,
        on_error: OnError,
    ) -> None:
        self._frames, self._mask, self._own_masks, self._order = frames, mask, own_masks, order
        self._pipeline, self._device, self._prefetch, self._on_error = pipeline, device, prefetch, on_error
        self._prepare()  # what does not fit is told when the loader is made

    def _prepare(self) -> TorchPipeline:
        return TorchPipeline(self._pipeline, self._frames.shape[1:], self._mask, self._device)

    def _reader(self, buffers: int) -> BatchReader:
        return BatchReader(
            self._frames,
            self._mask,
            self._order.batch_size,
            own_masks=self._own_masks,
            buffers=buffers,
            pinned=self._device.type == "cuda",
            on_error=self._on_error,
        )

    def run(self, plan: EpochPlan, first: int, epoch: int) -> Generator[Finished]:
        """Finished batches from step ``first`` on."""
        prepare = self._prepare()  # its buffers are this epoch's alone: two loops over a loader do not meet
        if self._device.type == "cpu":
            reader = self._reader(1)

            def work(background: Background[Finished]) -> Iterator[Finished]:
                for raw in reader.batches(background, plan, first, self._order.windowed):
                    finished = self._finish(prepare, raw, epoch)
                    raw.release()
                    yield finished

            with Background(work, self._prefetch) as batches:
                yield from batches
            return
        reader = self._reader(self._prefetch + 3)
        held: list[tuple[RawBatch, torch.cuda.Event]] = []
        with Background(lambda b: reader.batches(b, plan, first, self._order.windowed), self._prefetch) as raws:
            for raw in raws:
                finished = self._finish(prepare, raw, epoch)
                event = torch.cuda.Event()
                event.record(torch.cuda.current_stream(self._device))
                held.append((raw, event))
                if len(held) > 1:  # its copy was queued a batch ago, and is hardly ever waited for
                    copied, event = held.pop(0)
                    event.synchronize()
                    copied.release()
                yield finished

    def _finish(self, prepare: TorchPipeline, raw: RawBatch, epoch: int) -> Finished:
        if not len(raw.indices):
            return Finished(raw.step, raw.indices, None, None, raw.skipped)
        changes = self._pipeline.changes(raw.indices, self._order.seed, epoch)
        images, mask = prepare(raw.frames.to(self._device, non_blocking=True), changes, raw.good)
        return Finished(raw.step, raw.indices, images, mask, raw.skipped)
