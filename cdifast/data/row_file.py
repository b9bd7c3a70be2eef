"""Rows into HDF5 so that a killed job goes on where it stopped, and nothing half-written looks whole.

While it grows the file is called ``<path>.partial``; `RowFile.finish` gives it its name in one step.

How it survives being killed: every data set is contiguous and allocated when the file is made, so that
writing rows changes data alone and never HDF5's own structures; the file can be opened after any
interruption. The number of rows that are safe is a data set of its own, raised only after those rows have
reached the disk. Compressed data sets cannot be written in place like this (a chunk's size is known too
late), so compression happens in `finish`: the partial file is uncompressed, and both exist for a moment.

How it survives a full disk: HDF5 gathers small writes in a sieve buffer, which h5py flushes when a `Dataset`
object dies, where an error can reach nobody. So nothing is buffered here: the sieve is switched off, chunks are
flushed by name, and the partial file's room is reserved when it is made.

One process writes a file at a time: HDF5's own locking is often switched off on network file systems
(``HDF5_USE_FILE_LOCKING=FALSE``), so the partial file also carries a lock of ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from cdifast import __version__

from .errors import FrameError, describe
from .hdf5 import PROVENANCE, ROWS_DECLARED, ROWS_DONE, hdf5_faults, import_h5py, provenance
from .hdf5_text import fixed_text, set_attributes, text_attribute

Compression = Literal["gzip", "bitshuffle-lz4"]

# A chunk is one row, as readers of random rows want it; rows smaller than this share one.
_CHUNK_BYTES: Final = 1 << 16
_COPY_BYTES: Final = 1 << 24

_CONSTANTS: Final = "constants"
_FINGERPRINT: Final = "fingerprint"


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
    chunk_rows : int, optional
        Rows in a chunk of a compressed data set; default as many as make 64 KiB, at least one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DTypeLike
    path: str = ""
    compression: Compression | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    chunk_rows: int | None = None

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
        rows = f"in chunks of {self.chunk_rows}" if self.compression and self.chunk_rows else ""
        return " ".join(filter(None, [shape, kind, self.compression or "raw", rows]))

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

    Attributes
    ----------
    path, partial : Path
        The final name, and the name until `finish`.
    begun : bool
        Whether this call made the partial file; False where it goes on with one.

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

    def __init__(
        self, path: Path, layout: _Layout, file: Any, *, begun: bool, overwrite: bool, sync_seconds: float
    ) -> None:
        self.path = path
        self.partial = partial_path(path)
        self.begun = begun
        self._layout = layout
        self._file = file
        self._overwrite = overwrite
        self._sync_seconds = sync_seconds
        self._done = int(file[ROWS_DONE][()])
        self._synced = time.monotonic()
        self._lost = False

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
            The final name; its directory must exist. Of a symbolic link, the file that it leads to is written.
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
        # The link itself stays; the partial file is made where renaming it to the target is one step.
        final = final_path(path)
        import_h5py()
        layout = _Layout(rows, tuple(datasets), attrs or {}, constants or {}, links or {}, fingerprint)
        partial = partial_path(final)
        if not final.absolute().parent.is_dir():
            raise FileNotFoundError(f"{final}: its directory does not exist")
        if final.is_dir():
            raise FrameError("is a directory; expected the name of a file", path=final)
        if final.exists() and not overwrite:
            raise FileExistsError(f"{final}: exists already; remove it, choose another name, or pass overwrite=True")
        file, differences = None, ["damaged"]
        if there := partial.exists():
            try:
                file, begun_with = _open_partial(partial)
                differences = layout.differences(begun_with)
            except FrameError as error:
                in_use = isinstance(error.__cause__, BlockingIOError)
                if in_use or (resume and not overwrite):
                    remedy = "wait for it" if in_use else "remove it or pass overwrite=True to start afresh"
                    raise FrameError(f"{error}; {remedy}") from error
        if begun := file is None or bool(differences) or not resume:
            # Another job's file stays open, hence locked, until the new one is in its place.
            with contextlib.closing(file) if file is not None else contextlib.nullcontext():
                if there and resume and not overwrite:
                    raise FrameError(
                        f"was begun by another job: {'; '.join(differences)}. To start afresh remove it or pass "
                        "overwrite=True; to continue it, repeat the command that began it",
                        path=partial,
                    )
                layout.create(partial, replace=there)
            file, _ = _open_partial(partial)
        return cls(final, layout, file, begun=begun, overwrite=overwrite, sync_seconds=sync_seconds)

    @property
    def done(self) -> int:
        """Rows written so far: where to go on."""
        return self._done

    @property
    def rows(self) -> int:
        """Rows that the finished file has."""
        return self._layout.rows

    @property
    def rows_to_pack(self) -> int:
        """Rows that `finish` compresses, of all data sets together."""
        return sum(self.rows for dataset in self._layout.datasets if dataset.compression)

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
        OSError
            The disk is full or failing. These rows do not count as done.
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
                    f"{self.partial}, data set '{name}', row {start}: found {describe(array.shape, array.dtype)}; "
                    f"expected {describe(shape, dtype)}"
                )
        if start + count > self.rows:
            raise ValueError(f"{self.partial}: rows {start} to {start + count - 1} go beyond the {self.rows} declared")
        with _disk_faults(self.partial):
            for name, array in arrays.items():
                self._file[expected[name].place][start : start + count] = array
        self._done += count
        if time.monotonic() - self._synced >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        """Bring the rows written so far to the disk, then say so in the file.

        Raises
        ------
        OSError
            The disk is full or failing. The file goes on saying how many rows were safe before.
        """
        with _disk_faults(self.partial):
            try:
                self._file.flush()
                os.fsync(self._file.id.get_vfd_handle())
            except BaseException:
                # The system forgets what it could not write: a second fsync would succeed without it.
                self._lost = True
                raise
            self._file[ROWS_DONE][()] = self._done
            self._file.flush()
        self._synced = time.monotonic()

    def finish(self, progress: Callable[[int], None] | None = None) -> Path:
        """Compress where asked for, and give the file its final name in one step.

        Parameters
        ----------
        progress : callable, optional
            Called with the number of rows of all compressed data sets (`rows_to_pack`) that are done.

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
        FrameError
            Another process has put its own partial file in the place of this one.
        OSError
            The disk is full or failing; the partial file remains and can be continued.
        """
        if self._done != self.rows:
            raise ValueError(f"{self.partial}: {self._done} of {self.rows} rows are written; finish needs all")
        if self.path.exists() and not self._overwrite:
            raise FileExistsError(f"{self.path}: has appeared while {self.partial} was written")
        if not self._is_ours():
            raise FrameError("was removed or replaced by another process while it was written", path=self.partial)
        self.sync()
        if any(dataset.compression for dataset in self._layout.datasets):
            packed = self.partial.with_name(self.partial.name + ".packed")
            self._layout.pack(self._file, packed, progress or (lambda done: None))
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
            try:
                if not self._lost:
                    self.sync()
            finally:
                self._file.close()

    def discard(self) -> None:
        """Close and delete the partial file: for writers that cannot resume."""
        if self._file:
            ours = self._is_ours()
            self._file.close()
            if ours:
                self.partial.unlink()

    def _is_ours(self) -> bool:
        """Whether the partial file's name still leads to the file that is open here."""
        try:
            return os.path.samestat(os.stat(self.partial), os.fstat(self._file.id.get_vfd_handle()))
        except FileNotFoundError:
            return False

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


def final_path(path: str | os.PathLike[str]) -> Path:
    """The file that writing to ``path`` writes: itself, or what it leads to as a symbolic link."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


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
            _CONSTANTS: digest.hexdigest()[:16],
        }
        identity: dict[str, Any] = json.loads(json.dumps({**own, **self.fingerprint}))
        return identity

    def differences(self, there: Mapping[str, Any]) -> list[str]:
        """What a partial file was begun with (its identity) that is not so now, in words."""
        now = self.identity()
        differing = [key for key in dict.fromkeys([*there, *now]) if there.get(key) != now.get(key)]
        # A digest tells people nothing, and the setting that changed the constants is often in the list itself.
        told = [f"{key}: {there.get(key)!r} there, {now.get(key)!r} now" for key in differing if key != _CONSTANTS]
        if differing and not told:
            return ["its constants, such as mask or geometry, have other values"]
        return told

    def create(self, partial: Path, *, replace: bool) -> None:
        """Make the partial file, whole and with all its room before it has its name."""
        needed = self.rows * sum(dataset.row_bytes for dataset in self.datasets)
        free = shutil.disk_usage(partial.absolute().parent).free
        if needed > free:
            raise FrameError(f"needs {needed / 1e9:.1f} GB; the disk has {free / 1e9:.1f} GB left", path=partial)
        # A name of its own: two processes that begin at once must not write into one file.
        fresh = partial.with_name(f"{partial.name}.{uuid.uuid4().hex[:8]}.new")
        try:
            origin = {**provenance(), _FINGERPRINT: json.dumps(self.identity())}
            with _new_file(fresh) as file:
                self._declare(file, origin, packed=False)
            _reserve(fresh, partial)
            if partial.exists() and not replace:
                raise FrameError("in use by another process, which began it just now; wait for it", path=partial)
            os.replace(fresh, partial)
        finally:
            fresh.unlink(missing_ok=True)

    def pack(self, source: Any, packed: Path, progress: Callable[[int], None]) -> None:
        """Copy a complete partial file, compressing what is to be compressed; no file remains if that fails."""
        with _new_file(packed) as file:
            # The file was begun, and the command given, when the partial one was made.
            begun = source[PROVENANCE]
            origin = {name: text_attribute(begun, name) for name in (*provenance(), _FINGERPRINT)}
            self._declare(file, origin, packed=True)
            file[ROWS_DONE][()] = self.rows
            done = 0
            for dataset in self.datasets:
                target = file[dataset.place]
                step = max(1, _COPY_BYTES // dataset.row_bytes)
                for start in range(0, self.rows, step):
                    target[start : start + step] = source[dataset.place][start : start + step]
                    if dataset.compression:
                        done += min(step, self.rows - start)
                        progress(done)
                # The last chunks are still in HDF5's cache: their errors must come here, not when `target` dies.
                target.flush()

    def _declare(self, file: Any, origin: Mapping[str, str], *, packed: bool) -> None:
        h5py = import_h5py()
        set_attributes(file.create_group(PROVENANCE), origin)
        done = file.create_dataset(ROWS_DONE, shape=(), dtype="int64", dcpl=_allocated_at_once(h5py))
        done[()] = 0
        done.attrs[ROWS_DECLARED] = self.rows
        for dataset in self.datasets:
            options: dict[str, Any] = {"dcpl": _allocated_at_once(h5py)}
            if packed and dataset.compression is not None:
                per_chunk = min(self.rows, dataset.chunk_rows or max(1, _CHUNK_BYTES // dataset.row_bytes))
                options = {"chunks": (per_chunk, *dataset.shape), **_compression_options(dataset.compression)}
            item = file.create_dataset(dataset.place, (self.rows, *dataset.shape), dataset.dtype, **options)
            set_attributes(item, dataset.attrs)
        for path, value in self.constants.items():
            text = fixed_text(value)
            file.create_dataset(path, data=value if text is None else text)
        for path, target in self.links.items():
            file[path] = h5py.SoftLink(target)
        for path, values in self.attrs.items():
            item = file[path] if path in file else file.create_group(path)
            set_attributes(item, values)


def _open(path: Path, *, create: bool = False) -> Any:
    """An HDF5 file to write into, with nothing between an assignment and the operating system."""
    h5py = import_h5py()
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    access.set_sieve_buf_size(0)
    name = os.fsencode(path)
    if create:
        return h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, fapl=access))
    return h5py.File(h5py.h5f.open(name, h5py.h5f.ACC_RDWR, fapl=access))


def _open_partial(partial: Path) -> tuple[Any, dict[str, Any]]:
    """A partial file, locked, and the identity that it was begun with.

    Raises
    ------
    FrameError
        In use (its cause is a BlockingIOError) or damaged.
    """
    with hdf5_faults(partial):
        # Asked before HDF5 opens the file, because merely opening and closing it rewrites its first bytes.
        descriptor = os.open(partial, os.O_RDWR)
        try:
            _lock(descriptor)
        finally:
            os.close(descriptor)
        file = _open(partial)
        try:
            # The lock of HDF5's own descriptor: it is the one HDF5 takes where its locking is on, leaves no file
            # behind, and goes with the process.
            _lock(file.id.get_vfd_handle())
            identity: dict[str, Any] = dict(json.loads(text_attribute(file[PROVENANCE], _FINGERPRINT)))
            int(file[ROWS_DONE][()])
        except BaseException:
            file.close()
            raise
    return file, identity


def _lock(descriptor: int) -> None:
    """Lock a file for this process until it is closed; a BlockingIOError where another one holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks: better one writer unguarded than none


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Any]:
    """An HDF5 file to fill, on the disk at the end; deleted when that fails."""
    with _disk_faults(path):
        file = _open(path, create=True)
        try:
            yield file
            file.flush()
            os.fsync(file.id.get_vfd_handle())
            file.close()
        except BaseException:
            # HDF5 cannot close a file whose last writes fail, and takes the process down when it ends: let it
            # write them where there is room for everything.
            if file:
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, file.id.get_vfd_handle(), inheritable=False)
                os.close(nowhere)
                file.close()
            path.unlink(missing_ok=True)
            raise


def _reserve(path: Path, named: Path) -> None:
    """Take all of a file's room on the disk now: a full disk is found before the work, not after.

    ``named`` is what messages call it. macOS has no such call; there `RowFile.write` reports a full disk.

    Raises
    ------
    FrameError
        There is no such room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise FrameError(f"needs {size / 1e9:.3g} GB: {error.strerror}", path=named) from error
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        # A file system that cannot reserve: as on macOS.
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_faults(path: Path) -> Iterator[None]:
    """Word the failure to write as the operating system does, without HDF5's stack."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error
    except RuntimeError as error:
        raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from error


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
