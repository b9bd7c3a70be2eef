"""Rows into HDF5 so that a killed job goes on where it stopped, and nothing half-written looks whole.

While it grows the file is called ``<path>.partial``; `RowFile.finish` gives it its name in one step.

How it survives being killed: every data set is contiguous and allocated when the file is made, so that
writing rows changes data alone and never HDF5's own structures; the file can be opened after any
interruption. The number of rows that are safe is a data set of its own, raised only after those rows have
reached the disk. Compressed data sets cannot be written in place like this (a chunk's size is known too
late), so compression happens in `finish`: the partial file is uncompressed, and both exist for a moment.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdifast import __version__

from .errors import FrameError, describe
from .hdf5 import PROVENANCE, ROWS_DONE, hdf5_faults, import_h5py

Compression = Literal["gzip", "bitshuffle-lz4"]

# A chunk is one row, as readers of random rows want it; rows smaller than this share one.
_CHUNK_BYTES: Final = 1 << 16
_COPY_BYTES: Final = 1 << 24


@dataclass(frozen=True)
class RowDataset:
    """One data set with a row for each frame.

    Parameters
    ----------
    name : str
        What `RowFile.write` calls it.
    shape : tuple of int
        Shape of one row; ``()`` for a number a frame.
    dtype : dtype
        Element type.
    path : str, optional
        Its place in the file; default ``/name``.
    compression : {"gzip", "bitshuffle-lz4"}, optional
        Applied by `RowFile.finish`. gzip is at level 4 without shuffle (the fastest to read among gzip's
        variants); bitshuffle-LZ4 needs hdf5plugin and is the choice for data that will be read often.
    attrs : mapping
        HDF5 attributes, for example ``{"units": "J"}``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DTypeLike
    path: str = ""
    compression: Compression | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Absolute HDF5 path."""
        return "/" + (self.path or self.name).strip("/")

    @property
    def declaration(self) -> str:
        """Row shape, element type and compression, in words short enough for a message."""
        dtype = np.dtype(self.dtype)
        kind = str(dtype)
        if dtype.fields is not None:
            digest = hashlib.sha256(kind.encode()).hexdigest()[:8]
            kind = f"table of {len(dtype.fields)} fields (layout {digest})"
        shape = "x".join(map(str, self.shape))
        return " ".join(filter(None, [shape, kind, self.compression or "raw"]))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return max(1, int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize)


def nxdata(signal: str, axes: Sequence[str] = (), **others: Any) -> dict[str, Any]:
    """Attributes that make an HDF5 group plot itself in silx view and h5web (NeXus NXdata).

    Parameters
    ----------
    signal : str
        Name of the data set to plot, within the group.
    axes : sequence of str
        Name of each dimension's axis data set; ``"."`` for none. All dimensions, or empty.
    **others
        Further attributes, for example ``title``.
    """
    return {"NX_class": "NXdata", "signal": signal, **({"axes": list(axes)} if axes else {}), **others}


class RowFile:
    """A resumable HDF5 file of N rows; made by `open_or_resume`.

    As a context manager it keeps ``<path>.partial`` when left by an exception, or before `finish`: the next
    `open_or_resume` with the same fingerprint goes on from there.

    Examples
    --------
    >>> columns = [RowDataset("maps", (64, 64), "float32", path="/maps/data", attrs={"units": "counts^2"})]
    >>> with RowFile.open_or_resume(
    ...     "maps.h5", len(frames), columns, fingerprint=frames.fingerprint(), attrs={"/maps": nxdata("data")}
    ... ) as file:  # doctest: +SKIP
    ...     for start in range(file.done, len(frames), 64):
    ...         file.write(start, maps=compute(frames[start : start + 64]))
    ...     file.finish()
    """

    def __init__(self, path: Path, layout: _Layout, *, overwrite: bool, sync_seconds: float) -> None:
        self.path = path
        self.partial = partial_path(path)
        self._layout = layout
        self._overwrite = overwrite
        self._sync_seconds = sync_seconds
        with hdf5_faults(self.partial):
            self._file: Any = import_h5py().File(self.partial, "r+", libver="earliest")
        self._done = int(self._file[ROWS_DONE][()])
        self._synced = time.monotonic()

    @classmethod
    def open_or_resume(
        cls,
        path: str | os.PathLike[str],
        rows: int,
        datasets: Sequence[RowDataset],
        *,
        fingerprint: Mapping[str, Any],
        attrs: Mapping[str, Mapping[str, Any]] | None = None,
        constants: Mapping[str, ArrayLike] | None = None,
        links: Mapping[str, str] | None = None,
        overwrite: bool = False,
        resume: bool = True,
        sync_seconds: float = 5.0,
    ) -> Self:
        """Begin a file, or go on with the partial file of an interrupted job.

        Parameters
        ----------
        path : path
            The final name; its directory must exist.
        rows : int
            Number of rows of every data set.
        datasets : sequence of RowDataset
            What each row holds.
        fingerprint : mapping
            Names and JSON values of all that decides the rows: input (`Frames.fingerprint`) and parameters.
            A partial file is continued only when these, the declarations here and the package version are
            the same.
        attrs : mapping of str to mapping, optional
            HDF5 attributes by path (``"/"`` for the file); a path that is no data set becomes a group.
        constants : mapping of str to array_like, optional
            Data sets by path that are not rows, written at the start.
        links : mapping of str to str, optional
            Soft links: path to target path.
        overwrite : bool
            Replace a finished file of this name, at the moment of `finish`; and begin afresh where the
            partial file is another job's. The partial file of the same job is continued even so.
        resume : bool
            False: begin afresh always.
        sync_seconds : float
            Longest time between two moments at which rows become safe on the disk; what a kill can cost.

        Raises
        ------
        FileExistsError
            ``path`` exists and ``overwrite`` is False.
        FileNotFoundError
            The directory does not exist.
        FrameError
            The partial file is another job's (the message lists the differences), damaged or in use, or the
            disk has no room.
        ImportError
            h5py, or hdf5plugin for bitshuffle-LZ4, is missing.
        ValueError
            No rows, or two data sets of one name.
        """
        final = Path(path)
        import_h5py()
        layout = _Layout(rows, tuple(datasets), attrs or {}, constants or {}, links or {}, fingerprint)
        partial = partial_path(final)
        if not final.absolute().parent.is_dir():
            raise FileNotFoundError(f"{final}: its directory does not exist")
        if final.is_dir():
            raise FrameError("is a directory; expected the name of a file", path=final)
        if final.exists() and not overwrite:
            raise FileExistsError(f"{final}: exists already; remove it, choose another name, or pass overwrite=True")
        if partial.exists():
            try:
                differences = layout.differences(partial)
            except FrameError as error:
                in_use = isinstance(error.__cause__, BlockingIOError)
                if in_use or (resume and not overwrite):
                    remedy = "wait for it" if in_use else "remove it or pass overwrite=True to start afresh"
                    raise FrameError(f"{error}; {remedy}") from error
                differences = ["damaged"]
            if resume and not differences:
                return cls(final, layout, overwrite=overwrite, sync_seconds=sync_seconds)
            if resume and not overwrite:
                raise FrameError(
                    f"was begun by another job: {'; '.join(differences)}. To start afresh remove it or pass "
                    "overwrite=True; to continue it, repeat the command that began it",
                    path=partial,
                )
        layout.create(partial)
        return cls(final, layout, overwrite=overwrite, sync_seconds=sync_seconds)

    @property
    def done(self) -> int:
        """Rows written so far: where to go on."""
        return self._done

    @property
    def rows(self) -> int:
        """Rows that the finished file has."""
        return self._layout.rows

    def write(self, start: int, **rows: ArrayLike) -> None:
        """Write the next rows of every data set.

        Parameters
        ----------
        start : int
            Index of the first row: always `done`.
        **rows : array_like, (n, ...)
            One array for each data set, by its name; CPU tensors count as arrays.

        Raises
        ------
        ValueError
            Another start, missing or unknown names, shapes or lengths that do not fit, or a type that cannot
            be stored without loss of kind. Nothing has been written then.
        """
        if start != self._done:
            raise ValueError(f"{self.partial}: found start {start}; expected {self._done}, the rows done so far")
        expected = {dataset.name: dataset for dataset in self._layout.datasets}
        if rows.keys() != expected.keys():
            raise ValueError(f"{self.partial}: found the data sets {sorted(rows)}; expected {sorted(expected)}")
        arrays = {name: np.asarray(values) for name, values in rows.items()}
        count = len(next(iter(arrays.values()))) if all(a.ndim for a in arrays.values()) else -1
        for name, array in arrays.items():
            shape, dtype = (count, *expected[name].shape), np.dtype(expected[name].dtype)
            if array.shape != shape or not np.can_cast(array.dtype, dtype, "same_kind"):
                raise ValueError(
                    f"{self.partial}, data set '{name}', row {start}: found "
                    f"{describe(array.shape, array.dtype)}; "
                    f"expected {describe(shape, dtype)}"
                )
        if start + count > self.rows:
            raise ValueError(f"{self.partial}: rows {start} to {start + count - 1} go beyond the {self.rows} declared")
        for name, array in arrays.items():
            self._file[expected[name].place][start : start + count] = array
        self._done += count
        if time.monotonic() - self._synced >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        """Bring the rows written so far to the disk, then say so in the file."""
        self._file.flush()
        descriptor = self._file.id.get_vfd_handle()
        os.fsync(descriptor)
        self._file[ROWS_DONE][()] = self._done
        self._file.flush()
        self._synced = time.monotonic()

    def finish(self) -> Path:
        """Compress where asked for, and give the file its final name in one step.

        Returns
        -------
        Path
            The finished file.

        Raises
        ------
        ValueError
            Rows are missing.
        FileExistsError
            A file of the final name has appeared meanwhile and ``overwrite`` is False; the partial file
            remains.
        """
        if self._done != self.rows:
            raise ValueError(f"{self.partial}: {self._done} of {self.rows} rows are written; finish needs all")
        if self.path.exists() and not self._overwrite:
            raise FileExistsError(f"{self.path}: has appeared while {self.partial} was written")
        self.sync()
        if any(dataset.compression for dataset in self._layout.datasets):
            packed = self.partial.with_name(self.partial.name + ".packed")
            try:
                self._layout.pack(self._file, packed)
            except BaseException:
                packed.unlink(missing_ok=True)
                raise
            self._file.close()
            os.replace(packed, self.path)
            self.partial.unlink()
        else:
            self._file.close()
            os.replace(self.partial, self.path)
        _sync_directory(self.path)
        return self.path

    def close(self) -> None:
        """Bring what is written to the disk and close; the partial file can be continued."""
        if self._file:
            self.sync()
            self._file.close()

    def discard(self) -> None:
        """Close and delete the partial file: for writers that cannot resume."""
        if self._file:
            self._file.close()
        self.partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # A full disk fails here a second time; the first error is the one to see.
            with contextlib.suppress(OSError, RuntimeError):
                self.close()


def partial_path(path: str | os.PathLike[str]) -> Path:
    """The name of ``path`` while it is being written."""
    return Path(path).with_name(Path(path).name + ".partial")


@dataclass(frozen=True)
class _Layout:
    """All that is known about a file before its rows."""

    rows: int
    datasets: tuple[RowDataset, ...]
    attrs: Mapping[str, Mapping[str, Any]]
    constants: Mapping[str, ArrayLike]
    links: Mapping[str, str]
    fingerprint: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows: found {self.rows}; expected at least 1")
        names = [dataset.name for dataset in self.datasets]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"datasets: found the names {names}; expected at least one, each once")
        if any(dataset.compression == "bitshuffle-lz4" for dataset in self.datasets):
            _compression_options("bitshuffle-lz4")  # now, not after hours of computing

    def identity(self) -> dict[str, Any]:
        """The caller's fingerprint and our own, as it reads after a round trip through JSON."""
        digest = hashlib.sha256()
        for path, value in sorted(self.constants.items()):
            digest.update(path.encode() + np.ascontiguousarray(value).tobytes())
        own = {
            "cdifast version": __version__,
            "rows": self.rows,
            **{f"data set {d.place}": d.declaration for d in self.datasets},
            "constants": digest.hexdigest()[:16],
        }
        identity: dict[str, Any] = json.loads(json.dumps({**own, **self.fingerprint}))
        return identity

    def differences(self, partial: Path) -> list[str]:
        """What a partial file was begun with that is not so now, in words."""
        with hdf5_faults(partial), import_h5py().File(partial, "r+", libver="earliest") as file:
            there = json.loads(file[PROVENANCE].attrs["fingerprint"])
        now = self.identity()
        return [
            f"{key}: {there.get(key)!r} there, {now.get(key)!r} now"
            for key in dict.fromkeys([*there, *now])
            if there.get(key) != now.get(key)
        ]

    def create(self, partial: Path) -> None:
        """Make the partial file, whole before it has its name."""
        needed = self.rows * sum(dataset.row_bytes for dataset in self.datasets)
        free = shutil.disk_usage(partial.absolute().parent).free
        if needed > free:
            raise FrameError(f"needs {needed / 1e9:.1f} GB; the disk has {free / 1e9:.1f} GB left", path=partial)
        fresh = partial.with_name(partial.name + ".new")
        try:
            with import_h5py().File(fresh, "w", libver="earliest") as file:
                self._declare(file, packed=False)
            os.replace(fresh, partial)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    def pack(self, source: Any, packed: Path) -> None:
        """Copy a complete partial file, compressing what is to be compressed."""
        with import_h5py().File(packed, "w", libver="earliest") as file:
            self._declare(file, packed=True)
            # The file was begun, and the command given, when the partial one was made.
            file[PROVENANCE].attrs.update(dict(source[PROVENANCE].attrs))
            file[ROWS_DONE][()] = self.rows
            for dataset in self.datasets:
                step = max(1, _COPY_BYTES // dataset.row_bytes)
                for start in range(0, self.rows, step):
                    file[dataset.place][start : start + step] = source[dataset.place][start : start + step]
            file.flush()
            os.fsync(file.id.get_vfd_handle())

    def _declare(self, file: Any, *, packed: bool) -> None:
        h5py = import_h5py()
        provenance = file.create_group(PROVENANCE)
        provenance.attrs["package_version"] = __version__
        provenance.attrs["command"] = shlex.join(sys.argv)
        provenance.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        provenance.attrs["fingerprint"] = json.dumps(self.identity())
        file.create_dataset(ROWS_DONE, shape=(), dtype="int64", dcpl=_allocated_at_once(h5py))[()] = 0
        for dataset in self.datasets:
            options: dict[str, Any] = {"dcpl": _allocated_at_once(h5py)}
            if packed and dataset.compression is not None:
                per_chunk = min(self.rows, max(1, _CHUNK_BYTES // dataset.row_bytes))
                options = {"chunks": (per_chunk, *dataset.shape), **_compression_options(dataset.compression)}
            item = file.create_dataset(dataset.place, (self.rows, *dataset.shape), dataset.dtype, **options)
            item.attrs.update(dict(dataset.attrs))
        for path, value in self.constants.items():
            file.create_dataset(path, data=value)
        for path, target in self.links.items():
            file[path] = h5py.SoftLink(target)
        for path, values in self.attrs.items():
            item = file[path] if path in file else file.create_group(path)
            item.attrs.update(dict(values))


def _allocated_at_once(h5py: Any) -> Any:
    """Creation properties: contiguous, its place in the file fixed from the start, not filled with zeros."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _compression_options(compression: Compression) -> dict[str, Any]:
    if compression == "gzip":
        return {"compression": "gzip", "compression_opts": 4}
    if compression == "bitshuffle-lz4":
        try:
            import hdf5plugin
        except ImportError as error:
            raise ImportError("bitshuffle-LZ4 needs hdf5plugin: pip install 'cdifast[data]'") from error
        return dict(hdf5plugin.Bitshuffle(cname="lz4"))
    raise ValueError(f"compression: found {compression!r}; expected 'gzip', 'bitshuffle-lz4' or None")


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
