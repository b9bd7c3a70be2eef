"""Writing stacked CXI: the layout that `cdifast.data.cxi` reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cdifast.labels import CLASSES

from .class_labels import check_labels
from .cxi import DATA, DETECTOR, ENERGY, LABELS, MASK
from .errors import FrameError, describe
from .masks import cxi_bits
from .row_file import Compression, RowDataset, RowFile, nxdata

CXI_VERSION: Final = 150
"""Version 1.5 of the file format, the way ``/cxi_version`` counts."""

FRAME_TYPES: Final = ("uint8", "uint16", "int16", "int32", "float16", "float32", "float64")
"""Element types that the operators accept."""

STORED_TYPES: Final = (*FRAME_TYPES, "int8", "uint32", "int64", "uint64")
"""Element types that can be written: those of `FRAME_TYPES`, and integers that go to the operators as float32."""

_BLOCK_BYTES: Final = 1 << 24


class CxiWriter:
    """Write a stacked CXI file block by block; an interrupted one is continued (`RowFile`).

    Parameters
    ----------
    path : path
        The final name; until `finish` the file is ``<path>.partial``.
    shape : tuple of int
        ``(N, H, W)`` of the whole stack.
    dtype : dtype
        One of `STORED_TYPES`.
    labels : bool
        Whether each frame comes with labels.
    energy : float or bool, optional
        Photon energy in joules for all frames; True when each comes with its own; None when unknown.
    mask : array_like, (H, W), optional
        Booleans (True = good) or CXI bits as integers (0 = good).
    detector_distance : float, optional
        From the interaction point to the detector, in metres.
    pixel_size : float or (float, float), optional
        Pixel pitch in metres; a pair is (y, x).
    compression : {"gzip", "bitshuffle-lz4"}, optional
        Of the frames; see `RowDataset`.
    chunk_frames : int, optional
        Frames in a chunk of a compressed file; default one, or as many as make 64 KiB of smaller ones.
    columns : sequence of RowDataset, optional
        Further data sets with a row for each frame.
    constants : mapping of str to array_like, optional
        Further data sets that are not rows, by path.
    fingerprint : mapping, optional
        All that decides the frames, as in `RowFile.open_or_resume`. None: an interrupted file is not
        continued.
    overwrite : bool
        As in `RowFile.open_or_resume`.

    Attributes
    ----------
    done : int
        Frames written so far: where to go on.

    Raises
    ------
    FrameError
        An argument that does not fit, named with what was found and expected.
    FileExistsError, FileNotFoundError, ImportError
        As `RowFile.open_or_resume`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        *,
        labels: bool = False,
        energy: float | bool | None = None,
        mask: ArrayLike | None = None,
        detector_distance: float | None = None,
        pixel_size: float | tuple[float, float] | None = None,
        compression: Compression | None = None,
        chunk_frames: int | None = None,
        columns: Sequence[RowDataset] = (),
        constants: Mapping[str, ArrayLike] | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        native = np.dtype(np.dtype(dtype).newbyteorder("="))
        if len(shape) != 3 or min(shape) < 1 or native.name not in STORED_TYPES:
            raise FrameError(
                f"found frames {describe(tuple(shape), np.dtype(dtype))}; expected a stack (N, H, W) of at least one "
                f"frame, of {', '.join(STORED_TYPES)}",
                path=path,
            )
        fixed: dict[str, ArrayLike] = {**(constants or {}), "/cxi_version": CXI_VERSION}
        links = {DATA: f"{DETECTOR}/data"}
        attrs: dict[str, dict[str, Any]] = {
            "/": {"NX_class": "NXroot", "default": "entry_1"},
            "/entry_1": {"NX_class": "NXentry", "default": "data_1"},
            "/entry_1/data_1": nxdata("data"),
            "/entry_1/instrument_1": {"NX_class": "NXinstrument"},
            DETECTOR: {"NX_class": "NXdetector"},
        }
        datasets = [
            RowDataset(
                "images",
                tuple(shape[1:]),
                native,
                path=f"{DETECTOR}/data",
                compression=compression,
                attrs={"interpretation": "image"},
                chunk_rows=chunk_frames,
            )
        ]
        if mask is not None:
            fixed[f"{DETECTOR}/mask"] = cxi_bits(np.asarray(mask), (shape[1], shape[2]), place=f"{path}, mask")
            links[MASK] = f"{DETECTOR}/mask"
        if detector_distance is not None:
            distance = _positive(detector_distance, "detector_distance", "metres", path)
            fixed[f"{DETECTOR}/distance"] = distance
            attrs[f"{DETECTOR}/distance"] = {"units": "m"}
        if pixel_size is not None:
            sizes = np.broadcast_to(_positive(pixel_size, "pixel_size", "metres", path), (2,))
            for name, size in zip(("y_pixel_size", "x_pixel_size"), sizes, strict=True):
                fixed[f"{DETECTOR}/{name}"] = size
                attrs[f"{DETECTOR}/{name}"] = {"units": "m"}
        if energy is not None and energy is not False:
            attrs["/entry_1/instrument_1/source_1"] = {"NX_class": "NXsource"}
            if energy is True:
                datasets.append(RowDataset("energy", (), "float64", path=ENERGY, attrs={"units": "J"}))
            else:
                fixed[ENERGY] = _positive(energy, "energy", "joules", path)
                attrs[ENERGY] = {"units": "J"}
        if labels:
            attrs["/entry_1/labels"] = nxdata("data")
            classes = {"classes": list(CLASSES)}
            datasets.append(RowDataset("labels", (len(CLASSES),), "uint8", path=LABELS, attrs=classes))
        datasets.extend(columns)

        self.path = Path(path)
        self.shape = shape
        self._names = {dataset.name for dataset in datasets}
        self._file = RowFile.open_or_resume(
            path,
            shape[0],
            datasets,
            fingerprint=fingerprint or {},
            attrs=attrs,
            constants=fixed,
            links=links,
            overwrite=overwrite,
            resume=fingerprint is not None,
        )

    @property
    def done(self) -> int:
        """Frames written so far."""
        return self._file.done

    def write(
        self,
        start: int,
        images: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        energy: ArrayLike | None = None,
        **columns: ArrayLike,
    ) -> None:
        """Write the next frames.

        Parameters
        ----------
        start : int
            Index of the first: always `done`.
        images : array_like, (n, H, W) or (n, 1, H, W)
            Frames of the file's type, or one that converts to it without change of kind.
        labels : array_like, (n, 11), optional
            0 and 1; exactly when the file was opened with labels.
        energy : array_like, (n,), optional
            Joules; exactly when the file was opened with ``energy=True``.
        **columns : array_like, (n, ...)
            The further data sets that the file was opened with, by name.

        Raises
        ------
        FrameError
            Labels or energies that are missing, unasked for, or do not fit.
        ValueError
            As `RowFile.write`.
        """
        frames = _stack(images, self.path)
        rows: dict[str, NDArray[Any]] = {"images": frames}
        for name, values in (("labels", labels), ("energy", energy)):
            if (values is not None) != (name in self._names):
                state = "has" if name in self._names else "has no"
                raise FrameError(
                    f"{name} {'given' if values is not None else 'missing'}: this file {state} {name} for each frame",
                    path=self.path,
                    index=start,
                )
        if labels is not None:
            rows["labels"] = check_labels(np.asarray(labels), len(frames), place=f"{self.path}, labels from {start}")
        if energy is not None:
            rows["energy"] = _positive(energy, "energy", "joules", self.path)
        self._file.write(start, **rows, **columns)

    @property
    def begun(self) -> bool:
        """Whether this made the unfinished file; False where it goes on with one."""
        return self._file.begun

    @property
    def rows_to_pack(self) -> int:
        """What `finish` reports the progress of."""
        return self._file.rows_to_pack

    def finish(self, progress: Callable[[int], None] | None = None) -> Path:
        """Give the file its final name; see `RowFile.finish`."""
        return self._file.finish(progress)

    def close(self) -> None:
        """Close; an unfinished file can be continued."""
        self._file.close()

    def discard(self) -> None:
        """Close and delete the unfinished file."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


def write_cxi(
    path: str | os.PathLike[str],
    images: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    energy: ArrayLike | None = None,
    detector_distance: float | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    compression: Compression | None = None,
    overwrite: bool = False,
) -> Path:
    """Write frames that are in memory as a stacked CXI file.

    Parameters
    ----------
    path : path
        The file to write.
    images : array_like, (N, H, W) or (N, 1, H, W)
        Of one of `STORED_TYPES`; a CPU tensor counts as an array.
    labels : array_like, (N, 11), optional
        0 and 1 in the order of `cdifast.labels.CLASSES`.
    mask : array_like, (H, W), optional
        Booleans (True = good) or CXI bits (0 = good).
    energy : float or array_like, (N,), optional
        Photon energy in joules.
    detector_distance, pixel_size, compression, overwrite
        As in `CxiWriter`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FrameError, FileExistsError, FileNotFoundError, ImportError
        As `CxiWriter`; all is checked before anything is written, and nothing is left behind.
    """
    frames = _stack(images, path)
    count = len(frames)
    columns = None if labels is None else check_labels(np.asarray(labels), count, place=f"{path}, labels")
    energies = None if energy is None else _positive(energy, "energy", "joules", path)
    if energies is not None and energies.shape not in ((), (count,)):
        raise FrameError(f"found energies {energies.shape}; expected one or {count}", path=path)
    each = energies is not None and energies.ndim == 1
    writer = CxiWriter(
        path,
        frames.shape,
        frames.dtype,
        labels=columns is not None,
        energy=True if each else None if energies is None else float(energies),
        mask=mask,
        detector_distance=detector_distance,
        pixel_size=pixel_size,
        compression=compression,
        overwrite=overwrite,
    )
    step = max(1, _BLOCK_BYTES // frames[0].nbytes)
    try:
        for start in range(0, count, step):
            block = slice(start, start + step)
            writer.write(
                start,
                frames[block],
                labels=None if columns is None else columns[block],
                energy=energies[block] if each and energies is not None else None,
            )
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def _stack(images: ArrayLike, path: str | os.PathLike[str]) -> NDArray[Any]:
    """Frames (N, H, W), with the one channel of (N, 1, H, W) taken off."""
    frames = np.asarray(images)
    if frames.ndim == 4 and frames.shape[1] == 1:
        frames = frames[:, 0]
    if frames.ndim != 3:
        raise FrameError(
            f"found images {describe(frames.shape, frames.dtype)}; expected (N, H, W) or (N, 1, H, W)",
            path=path,
        )
    return frames


def _positive(values: ArrayLike, name: str, unit: str, path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Finite numbers above zero."""
    array = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
    if len(wrong):
        place = f" at index {wrong[0]}" if array.ndim else ""
        raise FrameError(
            f"{name}: found {array.reshape(-1)[wrong[0]]}{place}; expected a finite number of {unit} above 0",
            path=path,
        )
    return array
