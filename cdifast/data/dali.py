"""The DALI backend of `FrameLoader`: our reader, DALI's operators, torch tensors by DLPack.

DALI has no HDF5 reader. The batches come from our thread through one external source of whole batches, so that epochs,
shards, the partial last batch and the place in mid-epoch are those of `FrameOrder`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from .background import Background
from .batches import Finished
from .dali_graph import MASK_NAMES, Graph, inputs
from .order import EpochPlan, FrameOrder
from .pipeline import FramePipeline
from .prepare import Preparer
from .reading import BatchReader, OnError, RawBatch, Readable

_QUEUE: Final = 2  # batches that DALI works on at a time


def import_dali() -> Any:
    """`nvidia.dali`.

    Raises
    ------
    ImportError
        It is missing; names the extra that brings it.
    """
    try:
        import nvidia.dali
    except ImportError as error:
        raise ImportError("the DALI backend needs NVIDIA DALI: pip install 'cdifast[dali]'") from error
    return nvidia.dali


class DaliBatches:
    """Finished batches by DALI, on the CPU (no driver needed) or a GPU.

    Parameters
    ----------
    frames, mask, own_masks, pipeline, order, device, prefetch, on_error
        As `FrameLoader` has them; with `own_masks` each frame has its own mask.

    Raises
    ------
    ImportError
        DALI is not installed.
    ValueError
        The pipeline's filter is not the triangle, or a device DALI does not know.
    """

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
        self._dali = import_dali()
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"device: found {device}, expected cpu or cuda for the DALI backend")
        self._frames, self._mask, self._own_masks = frames, mask, own_masks
        self._pipeline, self._order = pipeline, order
        self._device, self._prefetch, self._on_error = device, prefetch, on_error
        self._preparer = Preparer(frames.shape[1:], mask, pipeline.preparation)
        self._graph = Graph(pipeline, self._preparer, "gpu" if device.type == "cuda" else "cpu", own_masks)
        self._names = self._graph.names

    def build(self, source: Any) -> Any:
        """A built pipeline that draws what `_arrays` gives of a batch from a callable."""
        on_gpu = self._device.type == "cuda"
        device_id = (self._device.index or 0) if on_gpu else None
        pipe = self._dali.Pipeline(
            batch_size=self._order.batch_size,
            num_threads=torch.get_num_threads(),
            device_id=device_id,
            prefetch_queue_depth=_QUEUE,
            exec_dynamic=True,
        )
        with pipe:
            nodes = self._dali.fn.external_source(
                source=source,
                num_outputs=1 + len(self._names),
                batch=True,
                layout=["HW", *("HWC" if name in MASK_NAMES else "" for name in self._names)],
                no_copy=not on_gpu,  # the ring keeps the buffers; for a GPU, DALI copies into page-locked ones
            )
            pipe.set_outputs(*self._graph(nodes[0], nodes[1:]))
        pipe.build()
        return pipe

    def run(self, plan: EpochPlan, first: int, epoch: int) -> Generator[Finished]:
        """Finished batches from step ``first`` on."""
        reader = BatchReader(
            self._frames,
            self._mask,
            self._order.batch_size,
            own_masks=self._own_masks,
            buffers=self._prefetch + _QUEUE + 3,
            on_error=self._on_error,
        )
        fed: deque[tuple[RawBatch, Any]] = deque()
        with Background(lambda b: reader.batches(b, plan, first, self._order.windowed), self._prefetch) as background:
            raws = iter(background)

            def source() -> list[Any]:
                for raw in raws:
                    if not len(raw.indices):
                        fed.append((raw, None))
                        continue
                    arrays = self._arrays(raw, epoch)
                    fed.append((raw, arrays))
                    return arrays
                raise StopIteration

            pipe = self.build(source)
            stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
            while True:
                try:
                    outputs = pipe.run() if stream is None else pipe.run(stream)
                except StopIteration:
                    outputs = None
                while fed and fed[0][1] is None:
                    yield self._release(fed.popleft()[0], None, None)
                if outputs is None:
                    return
                images, valid = (torch.from_dlpack(output.as_tensor()) for output in outputs)
                size = self._pipeline.preparation.size
                images = images.reshape(-1, 1, size, size)
                mask = valid.reshape(images.shape).bool() if self._masked else None
                raw, arrays = fed.popleft()
                del arrays
                yield self._release(raw, images, mask)

    def _arrays(self, raw: RawBatch, epoch: int) -> list[NDArray[Any]]:
        """The frames of a batch and what the graph needs with them."""
        preparer = None
        if raw.good is not None:
            preparation, resizer = self._pipeline.preparation, self._preparer.resizer
            preparer = Preparer(self._frames.shape[1:], raw.good.numpy(), preparation, resizer=resizer)
        changes = self._pipeline.changes(raw.indices, self._order.seed, epoch)
        return [raw.frames.numpy(), *inputs(self._names, changes, preparer)]

    @property
    def _masked(self) -> bool:
        augmentation = self._pipeline.augmentation
        changes = augmentation is not None and (augmentation.resamples or augmentation.blanks)
        return changes or self._own_masks or not self._preparer.all_valid

    @staticmethod
    def _release(raw: RawBatch, images: torch.Tensor | None, mask: torch.Tensor | None) -> Finished:
        raw.release()
        return Finished(raw.step, raw.indices, images, mask, raw.skipped)
