"""Run a function over all frames and keep its rows in a result file ("sidecar") beside them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdifast.data import CxiWriter, FrameError, Frames, RowDataset, RowFile, check_finite
from cdifast.data.row_file import final_path, partial_path
from cdifast.ops.dtypes import IMAGE_DTYPES

from .progress import progress_bar

# Frames read at once: enough to keep every core busy, few enough to stay in the processor's cache's reach.
BATCH_BYTES = 1 << 26


def run_over_frames(
    frames: Frames,
    output: str | os.PathLike[str],
    columns: Sequence[RowDataset],
    compute: Callable[[NDArray[Any], NDArray[np.bool_] | None], Mapping[str, ArrayLike]],
    *,
    description: str,
    fingerprint: Mapping[str, Any],
    attrs: Mapping[str, Mapping[str, Any]],
    constants: Mapping[str, ArrayLike],
    batch: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write one row of results a frame, in stack order, keyed by event; continue an interrupted file.

    Beside the given columns, the file has ``/entry_1/events/file`` and ``/entry_1/events/index`` (which file of
    ``/entry_1/events/paths``, and which frame in it), and a data set there for each further key of `Frames.events`,
    such as ``trainId`` or ``bunchId``.

    Parameters
    ----------
    frames : Frames
    output : path
        Result file; ``<output>.partial`` until it is complete.
    columns : sequence of RowDataset
        What ``compute`` gives.
    compute : callable
        From raw frames (n, H, W) and their good pixels, (H, W), (n, H, W) where frames have masks of their own, or
        None, to the rows of each column, by name. The frames' array is reused for the next batch.
    description : str
        For the progress bar.
    fingerprint, attrs, constants, overwrite
        As :meth:`cdifast.data.RowFile.open_or_resume`; the frames' own fingerprint and the events are added.
    batch : int, optional
        Frames at a time; default as many as make 64 MiB.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames that cannot be read or hold NaN outside the mask; an ``output`` that is one of their files; and as
        `RowFile.open_or_resume`. A file that was begun for such frames goes with the error: other frames or
        another mask make another job, which could not continue it.
    ValueError
        If ``batch`` is less than 1.
    """
    refuse_inputs(output, frames.input_paths)
    count, height, width = frames.shape
    if batch is None:
        batch = max(1, BATCH_BYTES // max(1, height * width * frames.dtype.itemsize))
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    events = frames.events
    names = events.dtype.names or ()
    keys = [RowDataset(f"event_{name}", (), events.dtype[name], path=f"/entry_1/events/{name}") for name in names]
    all_attrs = {
        "/": {"NX_class": "NXroot", "default": "entry_1"},
        "/entry_1/events": {"NX_class": "NXcollection", "why": frames.why},
        **attrs,
    }
    all_constants = {
        "/entry_1/events/paths": np.array([os.fsencode(path) for path in frames.paths]),
        **constants,
    }
    with RowFile.open_or_resume(
        output,
        count,
        [*keys, *columns],
        fingerprint={**frames.fingerprint(), **fingerprint},
        attrs=all_attrs,
        constants=all_constants,
        overwrite=overwrite,
    ) as file:
        buffer = np.empty((min(batch, count), height, width), dtype=frames.dtype)
        with discarded_on_wrong_input(file), progress_bar(description, count, show=progress) as report:
            report(file.done)
            while file.done < count:
                start = file.done
                stop = min(start + batch, count)
                chosen = slice(start, stop)
                images = frames.read(chosen, out=buffer[: stop - start])
                good = frames.read_mask(chosen, images=images) if frames.masks_differ else frames.mask
                check_finite(images, good, start, frames)
                rows = {f"event_{name}": events[name][start:stop] for name in names}
                file.write(start, **rows, **compute(images, good))
                report(stop)
        return file.finish()


def refuse_inputs(output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that is a file that the job reads, by whatever name or link.

    Raises
    ------
    FrameError
        Names both.
    """
    final = final_path(output)
    for written in (final, partial_path(final)):
        if not written.exists():
            continue
        status = os.stat(written)
        for path in inputs:
            if os.path.exists(path) and os.path.samestat(os.stat(path), status):
                raise FrameError(
                    f"writing {os.fspath(output)} would destroy the input {os.fspath(path)}; choose another output",
                    path=written,
                )


@contextlib.contextmanager
def discarded_on_wrong_input(file: RowFile | CxiWriter) -> Iterator[None]:
    """Delete the partial file when an error says that it can never be continued, or that there is nothing in it."""
    try:
        yield
    except Exception as error:
        empty = file.done == 0 and not isinstance(error, OSError | MemoryError)
        # A frame that could not be read may be a passing fault of the file system: hours of rows are kept.
        wrong = isinstance(error, ValueError | TypeError | LookupError) and not isinstance(error.__cause__, OSError)
        if empty or (file.begun and wrong):
            file.discard()
        raise


def as_image_tensor(images: NDArray[Any]) -> torch.Tensor:
    """Frames as a tensor of a type that the operators accept: shared memory, or float32 where they do not."""
    if images.dtype.kind not in "buif":
        raise TypeError(f"frames: found dtype {images.dtype}; expected real numbers")
    if images.dtype.newbyteorder("=").name in {str(dtype).removeprefix("torch.") for dtype in IMAGE_DTYPES}:
        return torch.from_numpy(np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("=")))
    return torch.from_numpy(images.astype(np.float32))
