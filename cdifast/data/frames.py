"""Frames of one or many files as one stack: `open_frames`."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdifast.labels import CLASSES

from .arrays import NpySource, NpzSource
from .beside import file_beside, given_labels, given_mask
from .cxi import CxiSource
from .errors import FrameError, describe
from .hdf5 import Hdf5Source
from .masks import PixelMask
from .source import FrameSource

LAYOUTS: Final[tuple[type[FrameSource], ...]] = (CxiSource, Hdf5Source, NpySource, NpzSource)
"""Every layout, asked in this order: the particular before the general."""

# Runs of one file a shot have thousands of files; a process may hold about a thousand open.
_MAX_OPEN: Final = 64

PathLike = str | os.PathLike[str]


def open_frames(
    paths: PathLike | Iterable[PathLike],
    *,
    dataset: str | None = None,
    mask: ArrayLike | PathLike | None = None,
    labels: ArrayLike | PathLike | None = None,
) -> Frames:
    """Open the frames of one or many files as one stack; the layout is recognised.

    Parameters
    ----------
    paths : path or list of paths
        Files or glob patterns. A pattern's files come in lexicographic order, a list in its own.
    dataset : str, optional
        The data set or array that holds the frames, where the file leaves a choice.
    mask : array_like or path, optional
        Pixels to use, (H, W): booleans (True = good), CXI bits (0 = good), or a file (``file:array`` where it
        holds several). It takes the place of the files' own masks. `cdifast.data.masks.good_pixels` has the
        rule.
    labels : array_like or path, optional
        (N, 11) of 0 and 1 in the order of `cdifast.labels.CLASSES`, or a file. Takes the place of the files'
        own.

    Returns
    -------
    Frames
        Also a context manager.

    Raises
    ------
    FileNotFoundError
        A file is missing or a pattern matches nothing.
    FrameError
        Anything else that is wrong; the message names file, data set and index, what was found and expected.
    ImportError
        HDF5 without h5py.

    Examples
    --------
    >>> with open_frames("run7.cxi") as frames:  # doctest: +SKIP
    ...     print(frames.shape, frames.why)
    ...     batch = frames[100:164]
    """
    sources = [_recognise(path, dataset) for path in _expand(paths)]
    return Frames(sources, mask=mask, labels=labels)


class Frames:
    """A stack of diffraction frames, read on demand; made by `open_frames`.

    Works as a map-style PyTorch dataset in worker processes: each process opens the files for itself at its
    first read, under fork and spawn. One instance is not for several threads at once.

    Attributes
    ----------
    shape : tuple of int
        ``(N, H, W)``.
    dtype : dtype
        Element type, native byte order.
    layout : str
        ``"cxi"``, ``"hdf5"``, ``"npy"`` or ``"npz"``; several joined by ``"+"``.
    why : str
        How the layout, the data set, the mask and the labels were recognised, for people to read.
    warnings : tuple of str
        What looks wrong without being an error, a sentence each, for a program to show: at present, an integer
        mask that may have been meant the other way round.
    mask : ndarray of bool, (H, W), or None
        True = good pixel.
    labels : ndarray of uint8, (N, 11), or None
        None too where only some of the files have labels (`why` says so).
    class_names : tuple of str
        The columns of ``labels``.
    energy : ndarray of float64, (N,), or None
        Photon energy in joules, always one a frame; NaN for frames of a file that does not give it, None
        when no file does.
    paths : tuple of Path
        The files, absolute, in stack order.
    input_paths : tuple of Path
        Every file that was or will be read: ``paths``, the files that their external links and virtual data sets
        lead to, and those that ``mask`` and ``labels`` were read from. None of them may be written to.
    """

    class_names: Final[tuple[str, ...]] = CLASSES

    def __init__(
        self,
        sources: Sequence[FrameSource],
        *,
        mask: ArrayLike | PathLike | None = None,
        labels: ArrayLike | PathLike | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._open: OrderedDict[int, None] = OrderedDict()
        first = self._sources[0]
        for source in self._sources[1:]:
            found, expected = (source.shape[1:], source.dtype), (first.shape[1:], first.dtype)
            if found != expected:
                raise FrameError(
                    f"found frames {describe(*found)}; expected {describe(*expected)} as in {first.path}: "
                    "one stack holds frames of one shape and type",
                    path=source.path,
                    dataset=source.dataset,
                )
        self._starts = np.cumsum([0, *(source.shape[0] for source in self._sources)])
        self.shape: tuple[int, int, int] = (int(self._starts[-1]), *first.shape[1:])
        self.dtype = first.dtype
        self.paths = tuple(source.path for source in self._sources)
        self.layout = "+".join(dict.fromkeys(source.layout for source in self._sources))

        notes = [f"{first.path.name} read as {first.layout}: frames from '{first.dataset}', {first.why}"]
        if len(self._sources) > 1:
            notes.append(f"{len(self._sources)} files in one stack")
        pixels = self._file_mask() if mask is None else given_mask(mask, self.shape[1:])
        self.mask = None if pixels is None else pixels.good
        self.warnings = () if pixels is None or not pixels.warning else (pixels.warning,)
        notes.append("" if pixels is None else pixels.why)
        self.labels, note = self._file_labels() if labels is None else given_labels(labels, len(self))
        notes.append(note)
        self.energy = self._file_energy()
        beside = [path.absolute() for path in (file_beside(mask), file_beside(labels)) if path is not None]
        self.input_paths = tuple(dict.fromkeys([*(file for s in self._sources for file in s.files), *beside]))
        self.why = "; ".join(filter(None, notes))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Frames {describe(self.shape, self.dtype)}, layout {self.layout}, {len(self.paths)} file(s)>"

    def __getitem__(self, key: int | slice | ArrayLike) -> NDArray[Any]:
        """Frame ``key`` (H, W), or those of a slice, index list or boolean array (n, H, W) in its order."""
        frames = self.read(key)
        return frames[0] if not isinstance(key, slice) and np.ndim(key) == 0 else frames

    def read(self, indices: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read frames, into a buffer where one is given: fresh memory costs more than the copy.

        Parameters
        ----------
        indices : int, slice or array_like
            Any order; duplicates and negative indices allowed.
        out : ndarray, (n, H, W), optional
            Writable; a type that the frames' converts to under NumPy's "same_kind" rule.

        Returns
        -------
        ndarray, (n, H, W)
            ``out``, or a new array of the frames' type.

        Raises
        ------
        IndexError
            Out of range, or not indices; names the file and the range.
        ValueError
            ``out`` has another shape or a type that cannot hold the frames.
        FrameError
            A frame cannot be read or decoded.
        """
        rows = self._rows(indices)
        shape = (len(rows), *self.shape[1:])
        if out is None:
            out = np.empty(shape, dtype=self.dtype)
        elif out.shape != shape or not np.can_cast(self.dtype, out.dtype, "same_kind") or not out.flags.writeable:
            raise ValueError(
                f"out: found {describe(out.shape, out.dtype)}; expected a writable array "
                f"{describe(shape, self.dtype)} or of a type that it converts to"
            )
        files = np.searchsorted(self._starts, rows, side="right") - 1
        for number in dict.fromkeys(files.tolist()):
            chosen = np.flatnonzero(files == number)
            local = rows[chosen] - self._starts[number]
            source = self._touch(number)
            if len(chosen) == chosen[-1] - chosen[0] + 1:
                source.read(local, out[chosen[0] : chosen[-1] + 1])
            else:
                part = np.empty((len(chosen), *self.shape[1:]), dtype=out.dtype)
                source.read(local, part)
                out[chosen] = part
        return out

    @property
    def chunks(self) -> NDArray[np.int64]:
        """Number of the storage chunk of each frame, (N,): frames of one chunk are read and decoded together."""
        numbers = []
        before = 0
        for number in range(len(self._sources)):
            own = self._touch(number).chunk_numbers()
            numbers.append(own + before)
            before += int(own.max()) + 1
        return np.concatenate(numbers)

    @property
    def events(self) -> NDArray[np.void]:
        """Keys of each frame, (N,): ``file`` (index into ``paths``) and ``index`` in that file."""
        events = np.empty(len(self), dtype=[("file", np.int32), ("index", np.int64)])
        counts = np.diff(self._starts)
        events["file"] = np.repeat(np.arange(len(counts)), counts)
        events["index"] = np.arange(len(self)) - self._starts[events["file"]]
        return events

    def locate(self, index: int) -> tuple[Path, str, int]:
        """File, data set and index in it of frame ``index``: for messages.

        Raises
        ------
        IndexError
            Out of range.
        """
        row = self._rows(index)[0]
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        source = self._sources[number]
        return source.path, source.dataset, int(row - self._starts[number])

    def fingerprint(self) -> dict[str, str | int]:
        """What makes these frames these frames, without reading them: for resuming a job.

        Covers every file's path, size, time of change and data set, the stack's shape and type, and the mask.
        The values are plain, so that a difference can be told in words.
        """
        digest = hashlib.sha256()
        size = changed = 0
        for source in self._sources:
            stat = source.path.stat()
            size, changed = size + stat.st_size, max(changed, stat.st_mtime_ns)
            line = (
                str(source.path),
                stat.st_size,
                stat.st_mtime_ns,
                source.dataset,
                source.shape,
                str(source.dtype),
            )
            digest.update(repr(line).encode())
        return {
            "first_file": str(self.paths[0]),
            "files": len(self.paths),
            "bytes": size,
            "changed_ns": changed,
            "dataset": self._sources[0].dataset,
            "shape": "x".join(map(str, self.shape)),
            "dtype": str(self.dtype),
            "mask": "none" if self.mask is None else hashlib.sha256(self.mask.tobytes()).hexdigest()[:16],
            "files_digest": digest.hexdigest()[:16],
        }

    def close(self) -> None:
        """Close this process's handles; a later read opens them again."""
        for number in self._open:
            self._sources[number].close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, indices: Any) -> NDArray[np.int64]:
        """Indices of any kind as row numbers from 0."""
        count = len(self)
        if isinstance(indices, slice):
            return np.arange(*indices.indices(count), dtype=np.int64)
        array = np.atleast_1d(np.asarray(indices))
        if array.dtype.kind == "b" and array.shape == (count,):
            return np.flatnonzero(array)
        if array.size == 0 and array.ndim == 1:
            return np.empty(0, dtype=np.int64)
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise IndexError(
                f"{self._name()}: found an index {describe(array.shape, array.dtype)}; expected an integer, "
                f"a slice, a list of integers or {count} booleans"
            )
        rows = array.astype(np.int64)
        rows = np.where(rows < 0, rows + count, rows)
        wrong = np.flatnonzero((rows < 0) | (rows >= count))
        if len(wrong):
            raise IndexError(
                f"{self._name()}: frame {array[wrong[0]]} is out of range; there are {count} frames, "
                f"indices {-count} to {count - 1}"
            )
        return rows

    def _name(self) -> str:
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    def _touch(self, number: int) -> FrameSource:
        """The source, most recently used; the least recently used one beyond the limit is closed."""
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > _MAX_OPEN:
            oldest, _ = self._open.popitem(last=False)
            self._sources[oldest].close()
        return self._sources[number]

    def _file_mask(self) -> PixelMask | None:
        """The files' common mask; files that disagree are refused."""
        read = [source.read_mask() for source in self._sources]
        first = read[0]
        for source, found in zip(self._sources[1:], read[1:], strict=True):
            same = (found is None) == (first is None)
            if same and found is not None and first is not None:
                same = np.array_equal(found.good, first.good)
            if not same:
                raise FrameError(
                    f"its mask differs from that of {self._sources[0].path}: give the one for the stack with mask=",
                    path=source.path,
                )
        return first

    def _file_labels(self) -> tuple[NDArray[np.uint8] | None, str]:
        found = [labels for source in self._sources if (labels := source.read_labels()) is not None]
        if len(found) == len(self._sources):
            return np.concatenate(found), "labels from the files"
        if found:
            return None, f"labels left out: only {len(found)} of {len(self._sources)} files have them"
        return None, ""

    def _file_energy(self) -> NDArray[np.float64] | None:
        read = [source.read_energy() for source in self._sources]
        if all(energy is None for energy in read):
            return None
        if len(read) == 1:
            return read[0]
        return np.concatenate(
            [
                np.full(source.shape[0], np.nan) if energy is None else energy
                for source, energy in zip(self._sources, read, strict=True)
            ]
        )


def _expand(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Files of every path and pattern, absolute: workers may have another working directory."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise FrameError("found an empty list of paths; expected at least one file")
    files: list[Path] = []
    for entry in given:
        text = os.fspath(entry)
        if os.path.exists(text):
            files.append(Path(text).absolute())
        elif glob.has_magic(text):
            matches = sorted(glob.glob(text, recursive=True))
            if not matches:
                raise FileNotFoundError(f"{text}: the pattern matches no file")
            files.extend(Path(match).absolute() for match in matches)
        else:
            raise FileNotFoundError(f"{text}: no such file")
    return files


def _recognise(path: Path, dataset: str | None) -> FrameSource:
    if path.is_dir():
        raise FrameError("is a directory; expected a file, a list of files or a pattern such as 'run/*.cxi'", path=path)
    if path.stat().st_size == 0:
        raise FrameError("is an empty file (0 bytes)", path=path)
    for layout in LAYOUTS:
        source = layout.recognise(path, dataset)
        if source is not None:
            return source
    with path.open("rb") as file:
        start = file.read(8)
    raise FrameError(
        f"is not HDF5, .npy or .npz (it begins with {start!r}): another format, truncated or damaged; "
        f"known layouts: {', '.join(layout.layout for layout in LAYOUTS)}",
        path=path,
    )
