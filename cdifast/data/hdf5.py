"""Plain HDF5: one data set of frames, found or named by its path."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from cdifast import __version__

from .chunk_reader import ChunkReader
from .chunk_table import ChunkTable, Unsupported
from .errors import FrameError, MissingFileError, describe_all
from .guard import guarded_file_type
from .source import FrameSource
from .virtual import resolve, whole_frames

PROVENANCE: Final = "/cdifast"
"""Group with package version, command line, creation time, fingerprint (attributes) and the rows done."""

ROWS_DONE: Final = f"{PROVENANCE}/rows_done"
"""How many rows of a file that `cdifast.data.RowFile` writes are there; all of them once it is finished."""

ROWS_DECLARED: Final = "rows"
"""Attribute of `ROWS_DONE`: how many rows the finished file has."""


def provenance() -> dict[str, str]:
    """What every file of ours says of itself in `PROVENANCE`: package version, command line, time."""
    return {
        "package_version": __version__,
        "command": shlex.join(sys.argv),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


# Memory for frames that are asked for in another type.
_CONVERTED_AT_ONCE: Final = 1 << 26

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

# In superblocks of version 2 on: who has the file open for writing.
_CONSISTENCY_FLAGS: Final = 11
_SWMR_WRITE: Final = 4


def import_h5py() -> ModuleType:
    """`h5py`, with the filters of `hdf5plugin` registered where that is installed.

    Raises
    ------
    ImportError
        h5py is missing; names the extra that brings it.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 and CXI files need h5py: pip install 'cdifast[data]'") from error
    # Only files compressed with one of its filters need it, and `check_filters` says so for those.
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401
    return h5py


def is_hdf5(path: Path) -> bool:
    """Whether an HDF5 signature stands where the format allows one: at 0, 512, 1024, 2048, ..."""
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while offset < size:
            file.seek(offset)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def open_hdf5(path: Path) -> Any:
    """An HDF5 file to read from, also while another process writes it for readers (SWMR).

    Its virtual data sets are checked before they are opened (`cdifast.data.guard`).
    """
    import_h5py()
    with path.open("rb") as file:
        head = file.read(_CONSISTENCY_FLAGS + 1)
    written = head.startswith(_SIGNATURE) and len(head) > _CONSISTENCY_FLAGS and head[8] >= 2
    swmr = written and bool(head[_CONSISTENCY_FLAGS] & _SWMR_WRITE)
    return guarded_file_type()(path, "r", **({"swmr": True, "libver": "latest"} if swmr else {}))


@contextlib.contextmanager
def hdf5_faults(path: Path, dataset: str | None = None) -> Iterator[None]:
    """Turn whatever h5py raises over a damaged file into a `FrameError` that names the file."""
    try:
        yield
    except FrameError:
        raise
    except BlockingIOError as error:
        raise FrameError(
            f"in use by another process that is writing it ({error})", path=path, dataset=dataset
        ) from error
    except FileNotFoundError as error:
        raise MissingFileError("no such file", path=path, dataset=dataset) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise FrameError(
            f"not readable as HDF5: truncated or damaged ({type(error).__name__}: {error})",
            path=path,
            dataset=dataset,
        ) from error


def list_datasets(file: Any) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Path, shape and type of every array in an open HDF5 file (links not followed)."""
    h5py = import_h5py()
    links: list[tuple[bytes, Any]] = []
    # Not `visititems`, which opens every object unchecked.
    file.id.links.visit(lambda name, link: links.append((name, (link.type, link.u))), info=True)
    found: dict[str, tuple[tuple[int, ...], Any]] = {}
    seen: set[int] = set()
    for raw, (kind, address) in links:
        if kind != h5py.h5l.TYPE_HARD or address in seen:
            continue
        seen.add(address)
        name = "/" + raw.decode("utf-8", "surrogateescape")
        item = file[name]
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = (item.shape, item.dtype)
    return found


def named_dataset(file: Any, path: Path, name: str) -> Any:
    """The data set called ``name``.

    Raises
    ------
    FrameError
        It is missing or a group: lists what the file holds and the closest name.
    """
    h5py = import_h5py()
    item = file.get(name)
    if isinstance(item, h5py.Dataset):
        return item
    there = list_datasets(file)
    listing = describe_all(there) or "no data set"
    close = difflib.get_close_matches("/" + name.strip("/"), there, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    if isinstance(item, h5py.Group):
        problem = "is a group"
    elif file.get(name, getlink=True) is not None:
        problem = "is a link that leads nowhere"
    else:
        problem = "is not in the file"
    raise FrameError(f"{problem}.{hint} The file holds {listing}", path=path, dataset=name)


def check_filters(dataset: Any, path: Path) -> None:
    """Refuse a data set whose compression filter is not available, naming the filter.

    Raises
    ------
    FrameError
    """
    h5py = import_h5py()
    plist = dataset.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            raise FrameError(
                f"compressed with HDF5 filter {code} ({name.decode(errors='replace') or 'unnamed'}), "
                "which is not available here: pip install 'cdifast[data]' brings hdf5plugin with the common ones",
                path=path,
                dataset=dataset.name,
            )


def check_written(dataset: Any, path: Path, above: tuple[tuple[str, str], ...] = ()) -> None:
    """Refuse what would silently read as zeros: data never written, virtual sources not there.

    ``above`` are the virtual data sets, as file and name, of which this one is a source.

    Raises
    ------
    FrameError
    """
    h5py = import_h5py()
    if not dataset.is_virtual:
        if dataset.size and dataset.id.get_storage_size() == 0:
            raise FrameError("was created but never written", path=path, dataset=dataset.name)
        done = guarded_file_type()(dataset.file.id).get(ROWS_DONE)
        if done is not None and int(done[()]) < (rows := int(done.attrs.get(ROWS_DECLARED, 0))):
            raise FrameError(
                f"is unfinished: {int(done[()])} of {rows} rows are written; finish the job that writes it",
                path=path,
                dataset=dataset.name,
            )
        return
    above = (*above, (os.fsdecode(dataset.file.filename), dataset.name))
    for there, file_name, name in dict.fromkeys(_virtual_sources(dataset, path)):
        if there is None:
            raise FrameError(
                f"is virtual and its source file '{file_name}' is missing (HDF5 would read fill values in its place)",
                path=path,
                dataset=dataset.name,
            )
        with hdf5_faults(there, name), open_hdf5(there) as file:
            source = file.get(name)
            if not isinstance(source, h5py.Dataset):
                raise FrameError(
                    f"is virtual and its source '{there}' has no data set '{name}' "
                    "(HDF5 would read fill values in its place)",
                    path=path,
                    dataset=dataset.name,
                )
            if not source.is_virtual:
                continue
            if (os.fsdecode(source.file.filename), source.name) in above:
                raise FrameError("is virtual and leads back to itself", path=path, dataset=dataset.name)
            check_written(source, there, above)


def check_plausible_count(source: FrameSource) -> None:
    """Refuse more frames than the files can hold: what goes with them would fill the memory.

    Raises
    ------
    FrameError
        More than 256 frames for each byte of the files; no compression reaches that with real frames.
    """
    size = sum(file.stat().st_size for file in source.files)
    if source.shape[0] > 256 * size:
        raise FrameError(
            f"found {source.shape[0]} frames in {size} bytes of files: the header is damaged",
            path=source.path,
            dataset=source.dataset,
        )


def source_files(dataset: Any, path: Path) -> tuple[Path, ...]:
    """All files that hold a data set of the file ``path``, reached by an external link or virtual mappings."""
    files = [path, Path(os.fsdecode(dataset.file.filename)).absolute()]
    if dataset.is_virtual:
        files += [there.absolute() for there, _, _ in _virtual_sources(dataset, path) if there is not None]
    return tuple(dict.fromkeys(files))


def _virtual_sources(dataset: Any, path: Path) -> Iterator[tuple[Path | None, str, str]]:
    """File (None when missing), file name and data set as stored, of each mapping of a virtual data set."""
    for source in dataset.virtual_sources():
        # "%b" counts blocks of an unlimited mapping: the first one must be there.
        file_name, name = source.file_name.replace("%b", "0"), source.dset_name.replace("%b", "0")
        if file_name == ".":
            yield path, file_name, name
        else:
            # HDF5 looks beside the virtual file first, then relative to the working directory.
            places = (path.parent / file_name, Path(file_name))
            yield next((place for place in places if place.is_file()), None), file_name, name


class Hdf5Source(FrameSource):
    """Frames of one HDF5 data set.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The data set's path in the file. (`h5py.Dataset.name` is the one in another file beyond an external link.)
    dataset : h5py.Dataset
        The open data set; only its description is kept.
    why : str
        As in `FrameSource`.
    shape : tuple of int, optional
        ``(H, W)`` or ``(N, H, W)`` where it is not the data set's own: fewer frames than there are rows, or rows that
        are modules, one below the other.
    inner : tuple of int or slice
        What is taken of each row: an index for each of the axes after the first, as far as they are named.
    """

    layout: ClassVar[str] = "hdf5"

    def __init__(
        self,
        path: Path,
        name: str,
        dataset: Any,
        why: str,
        *,
        shape: tuple[int, ...] | None = None,
        inner: tuple[int | slice, ...] = (),
    ) -> None:
        if dataset.shape is None:
            raise FrameError("holds nothing (a null data space)", path=path, dataset=name)
        super().__init__(path, name, dataset.shape if shape is None else shape, dataset.dtype, why)
        check_filters(dataset, path)
        check_written(dataset, path)
        self.files = source_files(dataset, path)
        check_plausible_count(self)
        self.inner = inner
        self._stored_shape: tuple[int, ...] = dataset.shape
        self._dataset: Any = None
        self._process = 0
        self._reader: ChunkReader | None = None
        self._swmr = False
        self.read_by: str = ""
        """How frames are read, once the first were: ``"chunks"``, or ``"HDF5: "`` and why."""

    @classmethod
    def recognise(cls, path: Path, dataset: str | None, file: Any) -> Self | None:
        """Any HDF5 file: the data set asked for, or the only one that can be frames."""
        if file is None:
            return None
        if dataset is not None:
            return cls(path, dataset, named_dataset(file, path, dataset), "the data set asked for")
        numeric = {
            name: (shape, dtype)
            for name, (shape, dtype) in list_datasets(file).items()
            if dtype.kind in "uif" and len(shape) in (2, 3)
        }
        stacks = [name for name, (shape, _) in numeric.items() if len(shape) == 3]
        chosen = stacks or list(numeric)
        if len(chosen) == 1:
            why = "the only three-dimensional data set" if stacks else "the only data set that can be one frame"
            return cls(path, chosen[0], file[chosen[0]], why)
        if not chosen:
            raise FrameError(
                "holds no numeric data set of two or three dimensions; expected frames (N, H, W)",
                path=path,
            )
        listing = describe_all({name: numeric[name] for name in chosen})
        raise FrameError(f"several data sets can be the frames: name one with dataset=: {listing}", path=path)

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read frames without HDF5's library where that can be, else as any other source."""
        reader = self._reader_for(indices)
        if reader is None:
            super().read(indices, out)
        elif out.dtype == self.dtype and out.flags.c_contiguous:
            self._read_chunks(reader, indices, out)
        else:
            step = max(1, _CONVERTED_AT_ONCE // (out[:1].size * self.dtype.itemsize or 1))
            for start in range(0, len(indices), step):
                part = out[start : start + step]
                block = np.empty(part.shape, dtype=self.dtype)
                self._read_chunks(reader, indices[start : start + step], block)
                part[...] = block

    def _reader_for(self, indices: NDArray[np.int64]) -> ChunkReader | None:
        """`_chunks`, whose errors name the first frame that is asked for."""
        index = int(indices.min()) if len(indices) else None
        try:
            return self._chunks()
        except FileNotFoundError as error:
            raise MissingFileError("no such file", path=self.path, dataset=self.dataset, index=index) from error
        except FrameError as error:
            if error.index is not None or index is None:
                raise
            raise error.located(self.path, self.dataset, index) from error

    def _read_chunks(self, reader: ChunkReader, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        # HDF5 is not asked again: its plug-ins for LZ4 and bitshuffle crash over some damaged bytes.
        failures = reader.read(indices, out)
        if failures:
            first = failures[0]
            raise FrameError(
                f"cannot be read: {first.problem}{first.where and f' (in {first.where})'}; the file is damaged here: "
                "copy it again, or leave this frame out",
                path=self.path,
                dataset=self.dataset,
                index=int(indices[first.position]),
            ) from OSError(first.problem)  # as every source's: jobs keep what they have done

    def chunk_numbers(self) -> NDArray[np.int64]:
        """See `FrameSource.chunk_numbers`."""
        reader = self._chunks()
        return super().chunk_numbers() if reader is None else reader.frame_chunks

    def _chunks(self) -> ChunkReader | None:
        """What reads the frames without HDF5's library; None where it has to."""
        if not self.read_by:
            with hdf5_faults(self.path, self.dataset):
                try:
                    self._reader = self._make_reader(self._open())
                    self.read_by = "chunks"
                except Unsupported as reason:
                    self.read_by = f"HDF5: {reason}"
            if self._reader is not None and not self._swmr:
                self._close_dataset()
        return self._reader

    def _make_reader(self, dataset: Any) -> ChunkReader:
        """A reader for this data set.

        Raises
        ------
        Unsupported
            It has to be read by HDF5.
        """
        if not dataset.is_virtual:
            table = ChunkTable.of(dataset)
            self._swmr = table.swmr
            reader = ChunkReader([table], whole_frames(table.shape, self.inner), self.shape)
            reader.open_dataset = lambda _: self._open()
            return reader
        places = {(file, name): there for there, file, name in _virtual_sources(dataset, self.path)}

        def table_of(file_name: str, name: str) -> ChunkTable:
            there = places[file_name, name]
            if there is None:
                raise FileNotFoundError(file_name)
            with open_hdf5(there) as file:
                table = ChunkTable.of(file[name])
                if table.swmr:
                    raise Unsupported("a source that is being written")
                return table

        resolved = resolve(dataset, table_of, self.inner)
        if not resolved.tables or not resolved.tiles:
            raise Unsupported("a virtual data set without sources")
        return ChunkReader(resolved.tables, resolved.tiles, self.shape, dataset.fillvalue)

    def read_run(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read through h5py, which converts the byte order."""
        dataset = self._open()
        selection = () if self.single else (slice(start, stop), *self.inner)
        target = out[0] if self.single else out
        rows = (len(target), *self._row_shape()) if not self.single else target.shape
        try:
            if target.dtype == self.dtype and target.flags.c_contiguous:
                dataset.read_direct(target.reshape(rows), selection)
            else:
                target[...] = dataset[selection].reshape(target.shape)
        except (RuntimeError, ValueError) as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Close this process's handles; the next read opens them again, as the file then is."""
        self._close_dataset()
        if self._reader is not None:
            self._reader.close()
        self._reader, self.read_by = None, ""

    def _close_dataset(self) -> None:
        if self._dataset is not None:
            self._dataset.file.close()
            self._dataset = None

    def _row_shape(self) -> tuple[int, ...]:
        """Of what `inner` takes of one row of the data set."""
        axes = self._stored_shape[1:]
        inner = (*self.inner, *(slice(None),) * (len(axes) - len(self.inner)))
        return tuple(
            len(range(*index.indices(n))) for n, index in zip(axes, inner, strict=True) if isinstance(index, slice)
        )

    def _open(self) -> Any:
        if self._process != os.getpid():
            # A handle inherited over fork shares the parent's file description: let it go, open our own.
            self._dataset = None
            self._process = os.getpid()
        if self._dataset is None:
            with hdf5_faults(self.path, self.dataset):
                file = open_hdf5(self.path)
                dataset = named_dataset(file, self.path, self.dataset)
                if dataset.shape != self._stored_shape:
                    raise FrameError(
                        f"changed since it was opened: {self._stored_shape} then, {dataset.shape} now",
                        path=self.path,
                        dataset=self.dataset,
                    )
                check_written(dataset, self.path)
                self._dataset = dataset
        return self._dataset

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None, "_process": 0, "_reader": None, "read_by": ""}
