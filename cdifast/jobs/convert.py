"""Frames of any layout as one stacked CXI file that reads fast: a compressed chunk for each frame."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdifast.data import CxiWriter, Frames, RowDataset
from cdifast.data.cxi import DETECTOR, ENERGY, EVENT_PATHS, EVENTS
from cdifast.data.masks import CXI_BITS
from cdifast.data.row_file import Compression

from .progress import progress_bar
from .rows import BATCH_BYTES, discarded_on_wrong_input, refuse_inputs


def convert_frames(
    frames: Frames,
    output: str | os.PathLike[str],
    *,
    compression: Compression | None = "bitshuffle-lz4",
    batch: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write frames as stacked CXI, one frame a chunk, with their mask, labels, energies and event keys.

    Values and element type stay as they are, bit for bit: also those integers that the operators do not take (int8,
    uint32, int64, uint64), which jobs pass on as float32. Of masks it is kept which pixels are good, not why: bad
    ones get the CXI bit 0x80. Where good pixels differ from frame to frame (`Frames.masks_differ`), each frame's mask
    is written. Each key of `Frames.events` becomes a data set of ``/entry_1/events``; its ``file`` and ``index``,
    with the files' names in ``paths``, are there too and come back as ``origin_file`` and ``origin_index`` (of a file
    that was converted before: this file's, not those of the first). The detector's geometry is not kept: `Frames`
    does not hold it.

    The file is uncompressed while it grows, so that an interrupted job continues when the same call is repeated; it
    is compressed at the end. Until then both are on the disk.

    Parameters
    ----------
    frames : Frames
    output : path
        ``<output>.partial`` until it is complete.
    compression : {"bitshuffle-lz4", "gzip"}, optional
        None: frames lie one after the other.
    batch : int, optional
        Frames at a time; default as many as make 64 MiB.
    overwrite : bool
        Replace an existing file.
    progress : bool
        Show bars: frames written, then rows compressed.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError
        Frames, masks or keys that cannot be read; an ``output`` that is one of their files, or another job's.
    FileExistsError
        If ``output`` exists and ``overwrite`` is False.
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
    kept = [name for name in events.dtype.names or () if not name.startswith("origin_")]
    columns = [RowDataset(f"event_{name}", (), events.dtype[name], path=f"{EVENTS}/{name}") for name in kept]
    if frames.energy is not None:
        # Not the writer's own, which refuses what files may have: NaN, and 0 for shots that were not measured.
        columns.append(RowDataset("photon_energy", (), "float64", path=ENERGY, attrs={"units": "J"}))
    if frames.masks_differ:
        columns.append(
            RowDataset(
                "mask", (height, width), "uint16", path=f"{DETECTOR}/mask", compression=compression, chunk_rows=1
            )
        )
    with CxiWriter(
        output,
        frames.shape,
        frames.dtype,
        labels=frames.labels is not None,
        mask=None if frames.masks_differ else frames.mask,
        compression=compression,
        chunk_frames=1,
        columns=columns,
        constants={f"{EVENTS}/{EVENT_PATHS}": np.array([os.fsencode(path) for path in frames.paths])},
        fingerprint={**frames.fingerprint(), "labels": _digest(frames.labels), "energy": _digest(frames.energy)},
        overwrite=overwrite,
    ) as file:
        buffer = np.empty((min(batch, count), height, width), dtype=frames.dtype)
        with discarded_on_wrong_input(file), progress_bar("frames", count, show=progress) as report:
            report(file.done)
            while file.done < count:
                rows = slice(file.done, min(file.done + batch, count))
                images = frames.read(rows, out=buffer[: rows.stop - rows.start])
                values: dict[str, NDArray[Any]] = {f"event_{name}": events[name][rows] for name in kept}
                if frames.energy is not None:
                    values["photon_energy"] = frames.energy[rows]
                if frames.masks_differ:
                    good = frames.read_mask(rows, images=images)
                    values["mask"] = np.where(good, 0, CXI_BITS["bad"]).astype(np.uint16)
                file.write(rows.start, images, labels=None if frames.labels is None else frames.labels[rows], **values)
                report(file.done)
        with progress_bar(
            "compressed", file.rows_to_pack, show=progress and compression is not None, unit="rows"
        ) as report:
            return file.finish(report)


def _digest(values: NDArray[Any] | None) -> str:
    return "none" if values is None else hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
